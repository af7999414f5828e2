"""Converting a graph to a later operator set."""

import numpy as np
import onnxruntime

from embconvert.graph.opset import at_least

RANDOM = np.random.default_rng(0)


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
    feed = {"x": np.array([[1, 2, 3], [-4, 5, 6]], np.float32)}
    (found,) = onnxruntime.InferenceSession(new.SerializeToString()).run(None, feed)
    np.testing.assert_allclose(found, np.full((2, 1), np.sqrt(3)), rtol=1e-4)
