"""Conversion of graphs to newer opsets, for operators or types that need one."""

from collections.abc import Iterator
from typing import Any

# Temporary domain of operators that ONNX Runtime has in ONNX's own domain but onnx does not know,
# such as SimplifiedLayerNormalization.
_ELSEWHERE = "embconvert.unconverted"


def at_least(proto: Any, opset: int, ir_version: int) -> Any:
    """Returns a graph converted to this opset and IR version, or a newer one.

    Args:
        proto: An onnx.ModelProto, hollow or not; it is not changed.
        opset: Of ONNX's own domain.

    Raises:
        ConvertError: onnx has no rule for an operator.
    """
    from onnx import ModelProto, defs, helper, version_converter

    (known,) = (o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    made = ModelProto()
    made.CopyFrom(proto)
    if known < opset:
        for node in _nodes(made.graph):
            if node.domain in ("", "ai.onnx") and not defs.has(node.op_type):
                node.domain = _ELSEWHERE
        made.opset_import.append(helper.make_opsetid(_ELSEWHERE, 1))
        made = version_converter.convert_version(made, opset)
        for node in _nodes(made.graph):
            if node.domain == _ELSEWHERE:
                node.domain = ""
        kept = [o for o in made.opset_import if o.domain != _ELSEWHERE]
        del made.opset_import[:]
        made.opset_import.extend(kept)
    made.ir_version = max(made.ir_version, ir_version)
    return made


def _nodes(graph: Any) -> Iterator[Any]:
    """Yields the nodes of an onnx.GraphProto and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
