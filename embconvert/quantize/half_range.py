"""Which nodes of a graph would leave half precision's range."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.graph.segments import PiecewiseGraph
from embconvert.processes.threads import on_rows
from embconvert.quantize.activations import affordable_tokens, parts_of
from embconvert.quantize.settings import QuantizeSettings

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST = 65504.0


def out_of_range(
    model: Any,
    weights: "Mapping[str, ir.TensorProtocol]",
    types: Mapping[str, int],
    nodes: Collection[str],
    folder: Path,
    settings: QuantizeSettings,
) -> set[str]:
    """Returns the nodes that read or make values too large for half precision.

    Weights are looked at; activations are measured on the calibration texts, for a large model on
    some of them, and half of the range is left to other texts.

    Args:
        model: A hollow onnx.ModelProto, every node named; it is not changed.
        weights: What was taken out of it.
        types: The element type of every value.
        nodes: The nodes to look at, by name.
        folder: Where temporary files go, and where the weights may lie.
        settings: Has the calibration texts.
    """
    from onnx import ModelProto, TensorProto, helper

    made = {
        f"{name}/largest": name
        for node in model.graph.node
        if node.name in nodes
        for name in node.output
        if name and types.get(name) == TensorProto.FLOAT
    }
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.node[:]
    for node in model.graph.node:
        probe.graph.node.append(node)
        for name in node.output:
            if f"{name}/largest" in made:
                size = helper.make_node("Abs", [name], [f"{name}/size"])
                largest = f"{name}/largest"
                peak = helper.make_node("ReduceMax", size.output, [largest], keepdims=0)
                probe.graph.node.extend([size, peak])
    graph = PiecewiseGraph(probe, weights, folder, wanted=list(made))
    loud: set[str] = set()
    feeds = settings.calibration(graph.inputs, affordable_tokens(graph.weight_bytes))
    parts = [part for feed in feeds for part in parts_of(feed)]
    for _, values, _ in graph.pieces(parts):
        loud |= {made[name] for name, value in values.items() if value > _LARGEST / 2}
    loud |= {name for name, tensor in weights.items() if _largest(tensor) > _LARGEST}
    return {n.name for n in model.graph.node if loud & {*n.input, *n.output}} & set(nodes)


def _largest(tensor: "ir.TensorProtocol") -> float:
    """Returns the largest absolute value of a weight; 0 when it holds no floats."""
    values = tensor.numpy()
    if values.dtype.kind != "f" or not values.size:
        return 0.0

    def largest(rows: slice) -> float:
        return max(float(values[rows].max()), -float(values[rows].min()))

    return max(on_rows(largest, values.shape))
