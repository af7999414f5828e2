"""8-bit weights and activations, their scales fixed by calibration on texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.onnx_file import read_model
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
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    prepared = settings.work / "static-input.onnx"
    output = settings.work / "static-output.onnx"
    model = onnx.load(str(path))
    expose_attention_weights(model)
    names = [i.name for i in model.graph.input]
    nodes = nodes_with_matrices(model)
    onnx.save(model, str(prepared), save_as_external_data=True, location="static-input.onnx_data")
    del model
    quantize_static(
        str(prepared),
        str(output),
        _Reader(settings.calibration(names)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_OPERATORS,
        nodes_to_quantize=nodes,
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        use_external_data_format=True,
        extra_options={
            "MatMulConstBOnly": True,
            "DefaultTensorType": onnx.TensorProto.FLOAT,
            "OpTypesToExcludeOutputQuantization": _OPERATORS,
        },
    )
    return read_model(output)


class _Reader:
    """What ONNX Runtime's calibrator pulls batches from."""

    def __init__(self, feeds: Iterator[Feed]) -> None:
        self._feeds = feeds

    def get_next(self) -> Feed | None:
        """Returns the next batch, or None at the end."""
        return next(self._feeds, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The calibrator's interface asks for it; ranges are not used here."""
        raise NotImplementedError


def expose_attention_weights(model: Any) -> None:
    """Splits each fused Attention into its projection and a MultiHeadAttention, in place.

    ONNX Runtime's static quantizer knows no Attention, and would leave its weights, a quarter of
    a transformer layer's, in float32.

    Args:
        model: An onnx.ModelProto. Attentions with other inputs than weights, bias and a raw
            padding mask are left alone.
    """
    from onnx import helper

    nodes = []
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [*node.input, *[""] * 7][:7]
        others = {"unidirectional", "do_rotary", "qkv_hidden_sizes", "past_present_share_buffer"}
        plain = not any(attributes.get(name) for name in others) and not inputs[4]
        if node.domain != "com.microsoft" or node.op_type != "Attention" or not plain:
            nodes.append(node)
            continue
        name = node.name or node.output[0]
        product, biased = f"{name}_qkv", f"{name}_qkv_biased"
        parts = [f"{name}_{part}" for part in ("query", "key", "value")]
        nodes.append(helper.make_node("MatMul", inputs[:2], [product], f"{name}_MatMul"))
        if inputs[2]:
            nodes.append(helper.make_node("Add", [product, inputs[2]], [biased], f"{name}_Add"))
        split_input = biased if inputs[2] else product
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        count = {"num_outputs": 3} if opset >= 18 else {}
        nodes.append(
            helper.make_node("Split", [split_input], parts, f"{name}_Split", axis=-1, **count)
        )
        kept = {
            n: attributes[n] for n in ("num_heads", "scale", "mask_filter_value") if n in attributes
        }
        nodes.append(
            helper.make_node(
                "MultiHeadAttention",
                [*parts, "", inputs[3], inputs[5]],
                [node.output[0]],
                f"{name}_MultiHeadAttention",
                domain="com.microsoft",
                **kept,
            )
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
