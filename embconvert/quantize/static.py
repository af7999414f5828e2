"""8-bit weights and activations, their scales fixed by calibration on texts."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.hollow import fill, hollow_out, weights_on_demand
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, session_options
from embconvert.quantize.attention import expose_attention_weights
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.weights import nodes_with_matrices

if TYPE_CHECKING:
    import onnx_ir as ir

# Matrix products carry the weights and the time. Quantizing what lies between them (Add, Softmax)
# costs fidelity and saves nothing.
_OPERATORS = ["MatMul", "Gather"]


def static_int8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QInt8Static, in QDQ form: runtimes fuse what their kernels know."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model, weights = hollow_out(read_model(path))
    expose_attention_weights(model)
    nodes = set(nodes_with_matrices(model))
    activations = _give_products_inputs_of_their_own(model, nodes)
    session = _calibration_session(model, weights, sorted(activations), settings.work)
    ranges = _ranges(session, settings.calibration([i.name for i in session.get_inputs()]))
    quantizer = QDQQuantizer(
        model,
        settings.options.per_channel,
        settings.options.reduce_range,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, ranges),
        sorted(nodes),
        [],
        _OPERATORS,
        {
            "MatMulConstBOnly": True,
            # Outputs of fused operators have no inferred type; all that is quantized is float.
            "DefaultTensorType": onnx.TensorProto.FLOAT,
            "OpTypesToExcludeOutputQuantization": _OPERATORS,
        },
    )
    with weights_on_demand(weights):
        quantizer.quantize_model()
    return fill(quantizer.model.model, weights)


def _give_products_inputs_of_their_own(model: Any, nodes: Collection[str]) -> set[str]:
    """Puts an Identity between what products multiply and the products, in place.

    The quantizer rounds a tensor for all that read it, the residual beside a product too, which
    needs no rounding. Runtimes remove an Identity when they load a graph.

    Args:
        model: An onnx.ModelProto.
        nodes: The names of the nodes that are quantized.

    Returns:
        The names of the products' new inputs.
    """
    from onnx import helper

    copies: dict[str, str] = {}
    ordered = []
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.name in nodes:
            name = node.input[0]
            if name not in copies:
                copies[name] = f"{name}_multiplied"
                ordered.append(helper.make_node("Identity", [name], [copies[name]]))
            node.input[0] = copies[name]
        ordered.append(node)
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return set(copies.values())


def _calibration_session(
    model: Any, weights: "Mapping[str, ir.TensorProtocol]", tensors: Iterable[str], work: Path
) -> Any:
    """Opens a graph that also returns the smallest and largest value of each of these tensors.

    ONNX Runtime's own calibrator does the same with the whole model in memory, twice. Here the
    weights lie in a file that ONNX Runtime maps.

    Args:
        model: A hollow onnx.ModelProto; it is not changed.
        weights: What was taken out of it.
        tensors: Names of float tensors.
        work: A folder for temporary files.
    """
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for name in tensors:
        for operator in ("ReduceMin", "ReduceMax"):
            output = f"{name}_{operator}"
            node = onnx.helper.make_node(operator, [name], [output], keepdims=0)
            probe.graph.node.append(node)
            probe.graph.output.append(
                onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [])
            )
    path = work / "calibration.onnx"
    write_model(fill(probe, weights), path, external_data_threshold_bytes=0)
    return open_session(path, session_options(**NO_SECOND_COPY))


def _ranges(session: Any, feeds: Iterator[Feed]) -> dict[str, tuple[Any, Any]]:
    """Returns the smallest and the largest value of each tensor over all batches."""
    names = [output.name for output in session.get_outputs()]
    lowest = [name for name in names if name.endswith("_ReduceMin")]
    highest = [name for name in names if name.endswith("_ReduceMax")]
    runs = np.array([session.run([*lowest, *highest], feed) for feed in feeds])
    low, high = np.split(runs, 2, axis=1)
    return {
        name.removesuffix("_ReduceMin"): (low[:, [i]].min(axis=0), high[:, [i]].max(axis=0))
        for i, name in enumerate(lowest)
    }
