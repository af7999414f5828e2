"""Element types of the values of a graph that may have fused operators."""

from typing import Any

_INT64_RESULTS = {"Shape", "Size", "NonZero", "ArgMax", "ArgMin"}
_BOOL_RESULTS = {
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor",
    "IsNaN", "IsInf",
}  # fmt: skip
# The operators whose type is not that of their first input, and the input that it is of.
_TYPED_BY = {"Where": 1, "OneHot": 2}


def element_types(model: Any) -> dict[str, int]:
    """Returns the element type of every value of the main graph.

    Rules instead of shape inference, which knows no fused operators: nearly every operator's
    first output has the type of its first input.
    """
    from onnx import TensorProto

    types = {t.name: t.data_type for t in model.graph.initializer}
    types |= {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Cast":
            kind = attributes["to"].i
        elif node.op_type in _INT64_RESULTS:
            kind = TensorProto.INT64
        elif node.op_type in _BOOL_RESULTS:
            kind = TensorProto.BOOL
        elif "value" in attributes:
            kind = attributes["value"].t.data_type
        elif node.op_type == "ConstantOfShape":
            kind = TensorProto.FLOAT
        else:
            index = _TYPED_BY.get(node.op_type, 0)
            kind = types.get(node.input[index], 0) if len(node.input) > index else 0
        types |= dict.fromkeys(filter(None, node.output), kind)
        if node.op_type == "TopK":
            types[node.output[1]] = TensorProto.INT64
    return types
