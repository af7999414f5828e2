"""The protocol of `facts.Facts` for the inference rules that it consists of."""

from typing import TYPE_CHECKING, Any, Protocol

from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

SymbolicShape = tuple[Size, ...]


class Known(Protocol):
    """Inferred facts about a graph's tensors."""

    def shape(self, value: "ir.Value | None") -> SymbolicShape | None:
        """Returns a tensor's sizes, or None if its rank is unknown."""

    def content(self, value: "ir.Value | None") -> Any:
        """Returns a small tensor's numbers as an array of objects, or None."""
