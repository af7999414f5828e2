"""Gives every graph that a process with this folder on its path writes an unknown operator."""

from typing import Any

import onnx_ir as ir

to_proto = ir.to_proto


def with_an_unknown_operator(made: Any) -> Any:
    """What onnx_ir serializes; in a model, a node that no runtime has."""
    proto = to_proto(made)
    if isinstance(made, ir.Model) and all(node.domain != "nobody" for node in proto.graph.node):
        proto.opset_import.add(domain="nobody", version=1)
        proto.graph.node.add(domain="nobody", op_type="Nothing", output=["nothing"])
    return proto


ir.to_proto = with_an_unknown_operator
