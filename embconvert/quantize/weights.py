"""Which nodes of a graph carry weights worth quantizing."""

from typing import Any

_WEIGHT_INPUT = {"MatMul": 1, "Attention": 1, "Gather": 0}


def nodes_with_matrices(model: Any) -> list[str]:
    """Returns the names of the nodes whose weight is a matrix.

    Batched constants, as deberta's projected relative positions, are left alone: ONNX Runtime's
    integer kernels refuse them with a scale for each channel.

    Args:
        model: An onnx.ModelProto; nodes without a name get one.
    """
    matrices = {t.name for t in model.graph.initializer if len(t.dims) == 2}
    names = []
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
        index = _WEIGHT_INPUT.get(node.op_type)
        if index is not None and node.input[index] in matrices:
            names.append(node.name)
    return names
