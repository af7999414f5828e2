"""Newer operator sets, for graphs that need an operator or a type of them."""

from collections.abc import Iterator
from typing import Any

# Where operators are kept meanwhile that ONNX Runtime has in ONNX's own domain, as
# SimplifiedLayerNormalization, and of which onnx knows nothing.
_ELSEWHERE = "embconvert.unconverted"


def at_least(proto: Any, opset: int, ir_version: int) -> Any:
    """Returns a graph whose nodes are those of an operator set, or of a newer one.

    Args:
        proto: An onnx.ModelProto, hollow or not; it is not changed.
        opset: The oldest that will do, of ONNX's own domain.
        ir_version: The oldest that will do.

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
    """Yields the nodes of an onnx.GraphProto, those of its subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
