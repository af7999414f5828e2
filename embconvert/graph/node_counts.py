"""How many nodes a graph has, and runs, with the functions that it calls and its loops."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from embconvert.graph.tensor_checks import MalformedGraphError

#: Nodes after all functions are inlined. Exports of the largest models have about ten thousand.
MOST_NODES = 250_000
#: Nodes that one run executes, as far as the file contains the loops' trip counts.
MOST_EXECUTIONS = 10**8

#: Domain, name and overload.
FunctionKey = tuple[str, str, str]
#: Nodes after inlining, and how many of them run.
Counts = tuple[int, int]


def subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


class NodeCounts:
    """Counts the nodes of a graph or function, with those of the functions that it calls.

    Args:
        constants: TensorProtos known in the graphs around it, by name.
        graph: The graph of the nodes, which has the shapes of its values.
    """

    def __init__(
        self,
        nodes: Iterable[Any],
        constants: "ChainMap[str, Any]",
        costs: Mapping[FunctionKey, Counts],
        graph: Any = None,
    ) -> None:
        self._constants = constants.new_child()
        self._costs = costs
        self._sizes: dict[str, Any] = {}
        if graph is not None:
            for tensor in graph.initializer:
                self._constants[tensor.name] = tensor
            self._sizes = {
                value.name: value.type.tensor_type.shape.dim
                for value in (*graph.input, *graph.value_info, *graph.output)
                if value.type.HasField("tensor_type")
            }
        count = executions = 0
        for node in nodes:
            more, runs = self._of_node(node)
            # Capped: uncapped numbers could grow to millions of digits.
            count = min(count + more, MOST_NODES + 1)
            executions = min(executions + runs, MOST_EXECUTIONS + 1)
            if node.domain not in ("", "ai.onnx"):
                continue
            if node.op_type == "Constant" and len(node.output) == 1:
                tensors = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
                tensors += [_integer(a.i) for a in node.attribute if a.name == "value_int"]
            elif node.op_type == "Identity" and len(node.input) == len(node.output) == 1:
                tensors = [self._constants.get(node.input[0])]
            else:
                continue
            self._constants.update(zip(node.output, filter(None, tensors), strict=False))
        self.total = (count, executions)

    def _of_node(self, node: Any) -> Counts:
        called = self._costs.get((node.domain, node.op_type, node.overload))
        if called is not None:
            return called
        inner = [NodeCounts(g.node, self._constants, self._costs, g) for g in subgraphs(node)]
        trips = self._trips(node, inner)
        return (
            1 + sum(costs.total[0] for costs in inner),
            1 + trips * sum(costs.total[1] for costs in inner),
        )

    def _trips(self, node: Any, inner: "list[NodeCounts]") -> int:
        """Returns how often a node's body runs, 1 where that is unknown; refuses endless loops."""
        if node.op_type == "Loop" and inner:
            (body, *_) = subgraphs(node)
            if not inner[0].goes_on(body):
                return 1
            if not node.input or not node.input[0]:
                first = self._number(node.input[1]) if len(node.input) > 1 else None
                if first == 0:
                    return 1
                if first is not None or len(node.input) < 2 or not node.input[1]:
                    raise MalformedGraphError("it has a Loop that never ends")
                return 1
            return max(1, self._number(node.input[0]) or 1)
        if node.op_type == "Scan" and inner:
            count = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 1)
            axes: list[int] = []
            for attribute in node.attribute:
                if attribute.name == "scan_input_axes":
                    axes = list(attribute.ints)
            scanned = list(node.input)[-count:] if count > 0 else []
            sizes = [
                self._size(name, axes[place] if place < len(axes) else 0)
                for place, name in enumerate(scanned)
            ]
            return max([1, *sizes])
        return 1

    def goes_on(self, body: Any) -> bool:
        """Whether a Loop's condition stays true, as far as its body's nodes show."""
        if not body.output:
            return False
        made = {name: node for node in body.node for name in node.output}
        name, first = body.output[0].name, body.input[1].name if len(body.input) > 1 else ""
        while name in made and made[name].op_type == "Identity" and made[name].input:
            name = made[name].input[0]
        return name == first or bool(self._number(name))

    def _number(self, name: str) -> int | None:
        """Returns the single value of a constant, None if it has several or is unknown."""
        from onnx import numpy_helper

        tensor = self._constants.get(name)
        if tensor is None or any(size != 1 for size in tensor.dims) or tensor.external_data:
            return None
        try:
            return int(numpy_helper.to_array(tensor).item())
        except (ValueError, TypeError, OverflowError):
            return None

    def _size(self, name: str, axis: int) -> int:
        dims = list(self._constants[name].dims) if name in self._constants else []
        if not dims and name in self._sizes:
            dims = [dim.dim_value for dim in self._sizes[name]]
        return dims[axis] if -len(dims) <= axis < len(dims) else 1


def _integer(value: int) -> Any:
    from onnx import TensorProto

    return TensorProto(data_type=TensorProto.INT64, int64_data=[value])
