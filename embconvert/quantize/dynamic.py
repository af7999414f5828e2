"""8-bit weights, activations quantized while the graph runs, one scale for each tensor."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.hollow import fill, hollow_out, weights_on_demand
from embconvert.onnx_file import read_model
from embconvert.quantize.channels import quantize_weight_per_channel
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.weights import nodes_with_matrices

if TYPE_CHECKING:
    import onnx_ir as ir

# ONNX Runtime's quantizer also knows Conv, whose integer kernel is slower than the float one, and
# Transpose, which it would wrap for nothing.
_OPERATORS = ["MatMul", "Attention", "Gather"]


def dynamic_int8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QInt8: signed weights."""
    from onnxruntime.quantization import QuantType

    return _quantize(path, settings, QuantType.QInt8)


def dynamic_uint8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QUInt8: unsigned weights."""
    from onnxruntime.quantization import QuantType

    return _quantize(path, settings, QuantType.QUInt8)


def _quantize(path: Path, settings: QuantizeSettings, weight_type: Any) -> "ir.Model":
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    # quantize_dynamic() itself would write a copy with inferred shapes beside its input, which
    # may be read-only, to learn types that are told here.
    model, weights = hollow_out(read_model(path))
    quantizer = ONNXQuantizer(
        model,
        settings.options.per_channel,
        settings.options.reduce_range,
        QuantizationMode.IntegerOps,
        False,
        weight_type,
        QuantType.QUInt8,
        None,
        nodes_with_matrices(model),
        [],
        _OPERATORS,
        {
            "MatMulConstBOnly": True,
            # Outputs of fused operators have no inferred type; all that is quantized is float.
            "DefaultTensorType": onnx.TensorProto.FLOAT,
        },
    )
    quantizer.quantize_weight_per_channel_impl = partial(quantize_weight_per_channel, quantizer)
    with weights_on_demand(weights):
        quantizer.quantize_model()
    return fill(quantizer.model.model, weights)
