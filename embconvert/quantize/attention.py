"""Splits fused attention, so that its weights can be quantized."""

from typing import Any


def expose_attention_weights(model: Any) -> None:
    """Splits each Attention into a projection and a MultiHeadAttention, in place.

    Neither ONNX Runtime's static quantizer nor MatMulNBits supports Attention, whose weights, a
    quarter of a transformer layer, would stay float32.

    Args:
        model: An onnx.ModelProto. Attentions with inputs other than weights, bias and a raw padding
            mask are not changed.
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
