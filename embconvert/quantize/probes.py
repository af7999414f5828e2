"""Graphs that also compute how large their values are."""

from typing import Any

import numpy as np

from embconvert.quantize.element_types import element_types

#: Masks add float32's lowest number, which becomes minus infinity in half precision, and NaN in a
#: fully masked row.
LOWEST = -1e4


def with_sizes(hollow: Any) -> tuple[Any, dict[str, str]]:
    """Returns a copy of a graph that also computes sizes, and the sizes' values by name."""
    from onnx import ModelProto, TensorProto

    types = element_types(hollow)
    sums = [node for node in hollow.graph.node if node.op_type in ("Add", "Sum")]
    added = {name for node in sums for name in (*node.input, *node.output)}
    probed: dict[str, str] = {}
    probe = ModelProto()
    probe.CopyFrom(hollow)
    del probe.graph.node[:]
    for node in hollow.graph.node:
        probe.graph.node.append(node)
        for name in node.output:
            if name and types.get(name) == TensorProto.FLOAT:
                nodes = _sizes_of(name, with_mean=name in added)
                probe.graph.node.extend(nodes)
                probed[nodes[-1].output[0]] = name
    return probe, probed


def _sizes_of(name: str, *, with_mean: bool) -> list[Any]:
    """Returns nodes that compute a value's largest absolute value, and the mean if wanted.

    Both are in one output, the last node's: for two outputs ONNX Runtime keeps the values of all
    layers until the end of a run.
    """
    from onnx import helper

    made = helper.make_node
    nodes = [
        made("Abs", [name], [f"{name}/size"]),
        made("ReduceMax", [f"{name}/size"], [f"{name}/largest"], keepdims=0),
    ]
    if with_mean:
        nodes += [
            made("ReduceMean", [f"{name}/size"], [f"{name}/mean"], keepdims=0),
            made("Flatten", [f"{name}/largest"], [f"{name}/largest/flat"], axis=0),
            made("Flatten", [f"{name}/mean"], [f"{name}/mean/flat"], axis=0),
            made("Concat", [f"{name}/{w}/flat" for w in ("largest", "mean")], [f"{name}/sizes"],
                 axis=0),
        ]  # fmt: skip
    return nodes


def with_raised_lowest(hollow: Any) -> Any:
    """Returns a copy of a graph in which scalars below half precision's range are -10000."""
    from onnx import ModelProto, TensorProto, numpy_helper

    model = ModelProto()
    model.CopyFrom(hollow)
    tensors = [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute]
    for tensor in [*tensors, *model.graph.initializer]:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=int) > 1:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size and value.min() < -6e4:
            tensor.CopyFrom(numpy_helper.from_array(np.maximum(value, LOWEST), tensor.name))
    return model
