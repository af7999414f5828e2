"""Eight-bit floating-point weights, and the operator set that they need."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import table_and_products

from embconvert.errors import UnsupportedModelError
from embconvert.graph.onnx_file import read_artifact, write_model
from embconvert.models.choices import Precision, QuantizeOptions
from embconvert.models.values import ExportedModel
from embconvert.quantize import quantize
from embconvert.quantize.float8 import rounded
from embconvert.quantize.opset import at_least
from embconvert.quantize.settings import QuantizeSettings

RANDOM = np.random.default_rng(0)
IDS = np.arange(300, dtype=np.int64)


def no_calibration(inputs: list[str], tokens: int | None = None) -> Any:
    del inputs, tokens
    raise AssertionError("only weights are looked at")


def quantized(folder: Path, source: Path, **options: bool) -> Path:
    settings = QuantizeSettings(
        options=QuantizeOptions(per_channel=options.get("per_channel", True)),
        calibration=no_calibration,
        work=folder,
    )
    path = folder / "float8.onnx"
    quantize(
        ExportedModel(artifact=read_artifact(source)),
        path,
        precision=Precision.QFLOAT8,
        settings=settings,
    )
    return path


@pytest.mark.parametrize("per_channel", [True, False])
def test_products_are_right_and_weights_have_the_type(per_channel: bool, tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx").path
    path = quantized(tmp_path, source, per_channel=per_channel)
    ours, theirs = (
        np.asarray(onnxruntime.InferenceSession(str(p)).run(None, {"ids": IDS})[0])
        for p in (path, source)
    )
    assert (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
    kinds = {t.name: t.data_type for t in onnx.load(str(path)).graph.initializer}
    assert kinds["square_columns_quantized"] == onnx.TensorProto.FLOAT8E4M3FN
    assert kinds["gemm_rows_quantized"] == onnx.TensorProto.FLOAT8E4M3FN
    assert kinds["table_rows_table_quantized"] == onnx.TensorProto.INT8


def test_a_weight_is_off_by_a_sixteenth_at_most() -> None:
    weights = RANDOM.standard_normal((8, 512), dtype=np.float32)
    numbers, scales = rounded(weights, per_channel=True)
    back = numbers.astype(np.float32).T * scales[:, None]
    large = np.abs(weights) > 0.01
    assert (np.abs(back - weights) / np.abs(weights))[large].max() <= 1 / 16
    np.testing.assert_allclose(np.abs(back).max(axis=1), np.abs(weights).max(axis=1), rtol=1e-6)


def test_the_operator_set_is_converted_and_not_only_declared() -> None:
    """Before opset 18, ReduceL2 has its axes as an attribute, which no later one knows."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 1])
    node = helper.make_node("ReduceL2", ["x"], ["y"], axes=[1], keepdims=1)
    old = helper.make_model(
        helper.make_graph([node], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    new = at_least(old, 19, 9)
    assert (new.opset_import[0].version, new.ir_version) == (19, 9)
    assert (old.opset_import[0].version, old.ir_version) == (17, 8)
    feed = {"x": RANDOM.standard_normal((2, 3), dtype=np.float32)}
    (found,) = onnxruntime.InferenceSession(new.SerializeToString()).run(None, feed)
    np.testing.assert_allclose(found, np.linalg.norm(feed["x"], axis=1, keepdims=True), rtol=1e-6)
    assert at_least(new, 17, 8).opset_import[0].version == 19


def test_a_graph_of_such_weights_is_quantized_already(tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx").path
    path = quantized(tmp_path, source).rename(tmp_path / "b.onnx")
    with pytest.raises(UnsupportedModelError, match="already: it has float8e4m3fn weights"):
        quantized(tmp_path, path)


def test_operators_that_only_onnxruntime_knows_stay_as_they_are() -> None:
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 1])
    nodes = [
        helper.make_node("SimplifiedLayerNormalization", ["x", "scale"], ["n"], axis=-1),
        helper.make_node("ReduceL2", ["n"], ["y"], axes=[1], keepdims=1),
    ]
    scale = numpy_helper.from_array(np.ones(3, np.float32), "scale")
    old = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [scale]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    new = at_least(old, 19, 9)
    assert [(o.domain, o.version) for o in new.opset_import] == [("", 19)]
    feed = {"x": RANDOM.standard_normal((2, 3), dtype=np.float32)}
    (found,) = onnxruntime.InferenceSession(new.SerializeToString()).run(None, feed)
    np.testing.assert_allclose(found, np.full((2, 1), np.sqrt(3)), rtol=1e-4)
