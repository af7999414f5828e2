"""Casts of constants."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from embconvert.export.constant_casts import fold_float64_constants


def graph(value: float | list[float], stored: int, to: int) -> ir.Model:
    """y = x + Cast(constant)."""
    array = np.array(value, helper.tensor_dtype_to_np_dtype(stored))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(array)),
        helper.make_node("Cast", ["c"], ["narrow"], to=to),
        helper.make_node("Add", ["x", "narrow"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, to, [2]) for name in "xy")
    made = helper.make_graph(nodes, "g", [x], [y])
    return ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]))


@pytest.mark.parametrize("value", [1e-9, 0.1, [1.5, -2.0], 1e300, -1e300])
def test_a_float64_constant_becomes_a_float32_constant_of_the_same_value(
    value: float | list[float],
) -> None:
    model = graph(value, TensorProto.DOUBLE, TensorProto.FLOAT)
    fold_float64_constants(model)
    assert "Cast" not in [node.op_type for node in model.graph]
    (y,) = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": np.zeros(2, np.float32)})
    with np.errstate(over="ignore"):
        wanted = np.broadcast_to(np.asarray(value).astype(np.float32), 2)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(("stored", "to"), [
    (TensorProto.FLOAT, TensorProto.FLOAT16),
    (TensorProto.INT64, TensorProto.FLOAT),
    (TensorProto.DOUBLE, TensorProto.INT64),
])  # fmt: skip
def test_other_casts_stay(stored: int, to: int) -> None:
    model = graph(1, stored, to)
    fold_float64_constants(model)
    assert [node.op_type for node in model.graph] == ["Constant", "Cast", "Add"]
