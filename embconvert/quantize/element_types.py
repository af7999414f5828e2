"""Element types of the values of a graph with fused operators."""

from typing import Any

_INT64_RESULTS = {"Shape", "Size", "NonZero", "ArgMax", "ArgMin"}
_BOOL_RESULTS = {
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor",
    "IsNaN", "IsInf",
}  # fmt: skip
# Operators that run subgraphs, with the number of subgraph outputs that are not theirs.
_RUNNING = {"If": 0, "Loop": 1, "Scan": 0}
# Operators whose type is that of another input than the first, with its index.
_TYPED_BY = {"Where": 1, "OneHot": 2, "GatherBlockQuantized": 2}


def element_types(model: Any) -> dict[str, int]:
    """Returns the element type of every value of the main graph.

    Uses rules instead of shape inference, which does not support fused operators: the first output
    of most operators has the type of the first input.
    """
    from onnx import TensorProto

    types = {t.name: t.data_type for t in model.graph.initializer}
    types |= {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type in _RUNNING:
            made = next(a.g for a in node.attribute if a.HasField("g")).output
            kinds = [value.type.tensor_type.elem_type for value in made]
            types |= dict(zip(node.output, kinds[_RUNNING[node.op_type] :], strict=True))
            continue
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
