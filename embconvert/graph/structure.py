"""Checks that a graph is well-formed, in order and of bounded size, before anything works on it.

A file of a few kilobytes can describe 2^30 nodes (functions that call functions) or an endless
loop. Both are detected from the file alone, without inlining or running it.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown

#: Nodes after all functions are inlined. Exports of the largest models have about ten thousand.
MOST_NODES = 250_000
#: Nodes that one run executes, as far as the file contains the loops' trip counts.
MOST_EXECUTIONS = 10**8
# ONNX Runtime inlines one level of calls after the other, and copies the graph for each.
_MOST_LEVELS = 100
#: Domains of ONNX's and ONNX Runtime's operators: a function must not replace one of them.
_OPERATOR_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
_RUNTIME_DOMAINS = ("com.microsoft", "com.ms.internal.nhwc", "com.microsoft.nchwc")

_FunctionKey = tuple[str, str, str]
#: Nodes after inlining, and how many of them run.
_Cost = tuple[int, int]


def check_structure(model: Any) -> None:
    """Checks the names, the order, the functions and the size of an onnx.ModelProto.

    Raises:
        MalformedGraphError: It breaks a rule of ONNX, or would run endlessly or too long.
        UnsupportedGraphError: One of its functions has the name of an operator.
    """
    _check_opsets(model.opset_import)
    if not any(opset.domain in ("", "ai.onnx") for opset in model.opset_import):
        raise MalformedGraphError("it imports no operator set of ONNX")
    functions = _functions_by_key(model.functions)
    for function in model.functions:
        _check_opsets(function.opset_import)
        _refuse_repeated(function.input, "inputs")
        _refuse_repeated(function.output, "outputs")
        parameters = {*function.attribute, *(each.name for each in function.attribute_proto)}
        _check_references(function.node, parameters)
        _check_order(function.node, set(function.input), function.output)
    _check_references(model.graph.node, set())
    _check_graph(model.graph, ())
    costs: dict[_FunctionKey, _Cost] = {}
    for key in _in_order_of_calls(functions):
        costs[key] = _Costs(functions[key].node, ChainMap(), costs).total
    nodes, executions = _Costs(model.graph.node, ChainMap(), costs, model.graph).total
    if nodes > MOST_NODES:
        raise MalformedGraphError(
            f"with its functions inlined it has more than {MOST_NODES:,} nodes, the most that "
            "embconvert converts"
        )
    if executions > MOST_EXECUTIONS:
        raise MalformedGraphError(
            f"its loops would run more than {MOST_EXECUTIONS:,} nodes per batch, the most that "
            "embconvert converts"
        )


def _check_opsets(opsets: Iterable[Any]) -> None:
    found: set[str] = set()
    for opset in opsets:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if domain in found:
            raise MalformedGraphError(f"it imports two operator sets of the domain {shown(domain)}")
        if not 0 < opset.version < 1 << 31:
            raise MalformedGraphError(
                f"it imports operator set {opset.version} of the domain {shown(domain)}, "
                "which does not exist"
            )
        found.add(domain)


def _refuse_repeated(names: Iterable[str], what: str) -> None:
    found: set[str] = set()
    for name in names:
        if name in found:
            raise MalformedGraphError(f"two of its {what} have the name {shown(name)}")
        found.add(name)


def _check_references(nodes: Iterable[Any], parameters: Collection[str]) -> None:
    """Checks the attributes whose values are parameters of the function around them.

    onnx_ir fails on a reference to a graph, and nobody writes them.
    """
    for node in nodes:
        for attribute in filter(lambda each: each.ref_attr_name, node.attribute):
            name = attribute.ref_attr_name
            if name not in parameters:
                raise MalformedGraphError(
                    f"a {shown(node.op_type)} refers to {shown(name)}, "
                    "which is not a parameter of a function around it"
                )
            if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
                raise UnsupportedGraphError(f"its functions take a graph as {shown(name)}")
        for graph in _subgraphs(node):
            _check_references(graph.node, parameters)


def _check_graph(graph: Any, outside: Sequence[set[str]]) -> None:
    """Checks a GraphProto and its subgraphs, which may read values of the graphs around it, too."""
    _refuse_repeated((value.name for value in graph.input), "inputs")
    _refuse_repeated((tensor.name for tensor in graph.initializer), "weights")
    _refuse_repeated((value.name for value in graph.output), "outputs")
    own = {value.name for value in (*graph.input, *graph.initializer)}
    _check_order(graph.node, own, [value.name for value in graph.output], outside)


def _check_order(
    nodes: Iterable[Any], own: set[str], outputs: Iterable[str], outside: Sequence[set[str]] = ()
) -> None:
    """Checks that each node reads only existing values, and that no value is computed twice."""
    scopes = (own, *outside)

    def is_known(name: str) -> bool:
        return any(name in scope for scope in scopes)

    for node in nodes:
        missing = next((name for name in node.input if name and not is_known(name)), None)
        if missing is not None:
            raise MalformedGraphError(
                f"a {shown(node.op_type)} reads {shown(missing)}, which no node before it computes"
            )
        for graph in _subgraphs(node):
            _check_graph(graph, scopes)
        for name in filter(None, node.output):
            if name in own:
                raise MalformedGraphError(f"the value {shown(name)} is computed twice")
            own.add(name)
    for name in outputs:
        if not is_known(name):
            raise MalformedGraphError(f"no node computes its output {shown(name)}")


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _functions_by_key(functions: Iterable[Any]) -> dict[_FunctionKey, Any]:
    found: dict[_FunctionKey, Any] = {}
    for function in functions:
        key = (function.domain, function.name, function.overload)
        if function.domain in (*_OPERATOR_DOMAINS, *_RUNTIME_DOMAINS):
            raise UnsupportedGraphError(
                f"its function {shown(function.name)} of the domain {shown(function.domain)} has "
                "the name of an operator"
            )
        if key in found:
            raise MalformedGraphError(f"it has two functions with the name {shown(function.name)}")
        found[key] = function
    return found


def _in_order_of_calls(functions: Mapping[_FunctionKey, Any]) -> list[_FunctionKey]:
    """Returns functions, called ones before their callers; refuses recursion and deep nesting."""
    calls = {
        key: {called for called in _calls_of(function.node) if called in functions}
        for key, function in functions.items()
    }
    levels: dict[_FunctionKey, int] = {}
    order: list[_FunctionKey] = []
    waiting = dict(calls)
    while waiting:
        ready = [key for key, called in waiting.items() if called <= levels.keys()]
        if not ready or (levels and max(levels.values()) >= _MOST_LEVELS):
            what = "calls itself" if not ready else f"calls others {_MOST_LEVELS} levels deep"
            raise MalformedGraphError(f"its function {shown(next(iter(waiting))[1])} {what}")
        for key in ready:
            levels[key] = 1 + max((levels[called] for called in waiting[key]), default=0)
        order += ready
        for key in ready:
            del waiting[key]
    return order


def _calls_of(nodes: Iterable[Any]) -> Iterator[_FunctionKey]:
    for node in nodes:
        yield (node.domain, node.op_type, node.overload)
        for graph in _subgraphs(node):
            yield from _calls_of(graph.node)


class _Costs:
    """Counts the nodes of a graph or function, with those of the functions that it calls.

    Args:
        constants: TensorProtos known in the graphs around it, by name.
        graph: The graph of the nodes, which has the shapes of its values.
    """

    def __init__(
        self,
        nodes: Iterable[Any],
        constants: "ChainMap[str, Any]",
        costs: Mapping[_FunctionKey, _Cost],
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

    def _of_node(self, node: Any) -> _Cost:
        called = self._costs.get((node.domain, node.op_type, node.overload))
        if called is not None:
            return called
        inner = [_Costs(g.node, self._constants, self._costs, g) for g in _subgraphs(node)]
        trips = self._trips(node, inner)
        return (
            1 + sum(costs.total[0] for costs in inner),
            1 + trips * sum(costs.total[1] for costs in inner),
        )

    def _trips(self, node: Any, inner: "list[_Costs]") -> int:
        """Returns how often a node's body runs, 1 where that is unknown; refuses endless loops."""
        if node.op_type == "Loop" and inner:
            (body, *_) = _subgraphs(node)
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
