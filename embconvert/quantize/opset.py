"""Newer operator sets, for graphs that need an operator or a type of them."""

from typing import Any


def at_least(proto: Any, opset: int, ir_version: int) -> Any:
    """Returns a graph whose nodes are those of an operator set, or of a newer one.

    Args:
        proto: An onnx.ModelProto, hollow or not; it is not changed.
        opset: The oldest that will do, of ONNX's own domain.
        ir_version: The oldest that will do.

    Raises:
        ConvertError: onnx has no rule for an operator.
    """
    from onnx import version_converter

    (known,) = (o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    if known < opset:
        proto = version_converter.convert_version(proto, opset)
    proto.ir_version = max(proto.ir_version, ir_version)
    return proto
