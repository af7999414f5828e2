"""Checks that a graph is well-formed, in order and of bounded size, before anything works on it.

A file of a few kilobytes can describe 2^30 nodes (functions that call functions) or an endless
loop. Both are detected from the file alone, without inlining or running it.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from embconvert.graph.node_counts import (
    MOST_EXECUTIONS,
    MOST_NODES,
    Counts,
    FunctionKey,
    NodeCounts,
    subgraphs,
)
from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown

# ONNX Runtime inlines one level of calls after the other, and copies the graph for each.
_MOST_LEVELS = 100
#: Domains of ONNX's and ONNX Runtime's operators: a function must not replace one of them.
_OPERATOR_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
_RUNTIME_DOMAINS = ("com.microsoft", "com.ms.internal.nhwc", "com.microsoft.nchwc")


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
    costs: dict[FunctionKey, Counts] = {}
    for key in _in_order_of_calls(functions):
        costs[key] = NodeCounts(functions[key].node, ChainMap(), costs).total
    nodes, executions = NodeCounts(model.graph.node, ChainMap(), costs, model.graph).total
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
        for graph in subgraphs(node):
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
        for graph in subgraphs(node):
            _check_graph(graph, scopes)
        for name in filter(None, node.output):
            if name in own:
                raise MalformedGraphError(f"the value {shown(name)} is computed twice")
            own.add(name)
    for name in outputs:
        if not is_known(name):
            raise MalformedGraphError(f"no node computes its output {shown(name)}")


def _functions_by_key(functions: Iterable[Any]) -> dict[FunctionKey, Any]:
    found: dict[FunctionKey, Any] = {}
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


def _in_order_of_calls(functions: Mapping[FunctionKey, Any]) -> list[FunctionKey]:
    """Returns functions, called ones before their callers; refuses recursion and deep nesting."""
    calls = {
        key: {called for called in _calls_of(function.node) if called in functions}
        for key, function in functions.items()
    }
    levels: dict[FunctionKey, int] = {}
    order: list[FunctionKey] = []
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


def _calls_of(nodes: Iterable[Any]) -> Iterator[FunctionKey]:
    for node in nodes:
        yield (node.domain, node.op_type, node.overload)
        for graph in subgraphs(node):
            yield from _calls_of(graph.node)
