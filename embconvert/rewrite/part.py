"""Subgraphs that compute a value, and their execution.

Exporters' code for strides and indexing has no recognizable form. A rule that knows what such a
part should compute runs it and its replacement on the same random numbers, and keeps the
replacement only if the results agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embconvert.errors import reason_of
from embconvert.graph.runtime import session_options
from embconvert.rewrite.editing import Editor
from embconvert.rewrite.products import product_of
from embconvert.rewrite.scores import Unknown

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[np.generic]

#: Larger constants are weights.
_LARGEST_CONSTANT = 1 << 20
#: A part does not include these operators; it begins after them.
_OTHER_WORK = ("LayerNormalization", "SimplifiedLayerNormalization", "If", "Loop", "Scan")


@dataclass(frozen=True)
class Part:
    """The nodes that compute a value from products of token vectors with weights.

    Attributes:
        nodes: In the graph's order.
        products: The products with weights, including biases, that it starts from.
        inputs: The graph's inputs that it reads.
        sized: Values outside the part of which it uses only the sizes.
    """

    nodes: "tuple[ir.Node, ...]"
    products: "tuple[ir.Value, ...]"
    inputs: "tuple[ir.Value, ...]"
    sized: "tuple[ir.Value, ...]"

    def computed_of(self, start: "ir.Value") -> "dict[ir.Value, None]":
        """Returns its values that depend on a value, in the graph's order."""
        found = {start: None}
        for node in self.nodes:
            if not found.keys().isdisjoint(node.inputs) and node.op_type != "Shape":
                found |= dict.fromkeys(node.outputs)
        return found


def part_before(editor: Editor, output: "ir.Value") -> Part:
    """Returns the part that computes a value; raises Unknown if it needs anything else."""
    values, shapes = _reach(output)
    products = tuple(value for value in values if product_of(value) is not None)
    sized: dict[ir.Value, None] = {}
    while shapes:
        value = shapes.pop()
        if value in values:
            continue
        try:
            more, further = _reach(value)
        except Unknown:
            more, further = {}, []
        begins_elsewhere = any(product_of(v) is not None for v in more if v not in products)
        if not more or begins_elsewhere or value.is_graph_input():
            sized[value] = None
        else:
            values |= more
            shapes += further
    nodes = {node for value in values if (node := value.producer()) is not None}
    nodes -= {node for value in products if (node := value.producer()) is not None}
    return Part(
        nodes=tuple(node for node in editor.graph if node in nodes),
        products=products,
        inputs=tuple(value for value in values if value.is_graph_input()),
        sized=tuple(sized),
    )


def _reach(start: "ir.Value") -> "tuple[dict[ir.Value, None], list[ir.Value]]":
    """Returns the values on which one depends, with itself, and those whose sizes it uses."""
    values: dict[ir.Value, None] = {}
    shapes: list[ir.Value] = []
    waiting = [start]
    while waiting:
        value = waiting.pop()
        if value in values:
            continue
        values[value] = None
        if value.const_value is not None and value.const_value.size > _LARGEST_CONSTANT:
            raise Unknown("it contains weights")
        node = value.producer()
        if node is None or product_of(value) is not None:
            continue
        if node.op_type in _OTHER_WORK:
            raise Unknown(f"it depends on {node.op_type}")
        inputs = [v for v in node.inputs if v is not None]
        (shapes if node.op_type == "Shape" else waiting).extend(inputs)
    return values, shapes


def run_part(
    editor: Editor, trials: "Sequence[Mapping[ir.Value, Array]]", outputs: "Sequence[ir.Value]"
) -> list[list[Array]]:
    """Computes values of the graph from others, for each trial; raises Unknown if that fails."""
    import onnx_ir as ir
    import onnxruntime
    from onnx_ir.convenience import extract

    try:
        graph = extract(editor.graph, list(trials[0]), list(outputs))
        for value, array in zip(graph.inputs, trials[0].values(), strict=True):
            value.dtype = ir.DataType.from_numpy(array.dtype)
            value.shape = ir.Shape([None] * array.ndim)
        for value in graph.initializers.values():
            if value.const_value is not None:  # it may be a file in the model's folder
                value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
        for value in graph.outputs:
            value.shape = None
        model = ir.to_proto(ir.Model(graph, ir_version=editor.model.ir_version))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        return [
            session.run(
                [value.name for value in outputs],
                {str(value.name): array for value, array in feeds.items()},
            )
            for feeds in trials
        ]
    except Exception as error:
        raise Unknown(f"it cannot be run for a comparison: {reason_of(error)}") from error
