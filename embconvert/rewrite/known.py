"""What rules for shapes and contents ask of `facts.Facts`, which is made of these rules."""

from typing import TYPE_CHECKING, Any, Protocol

from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

Shape = tuple[Size, ...]


class Known(Protocol):
    """What is known of a graph's tensors."""

    def shape(self, value: "ir.Value | None") -> Shape | None:
        """Returns a tensor's sizes, or None when not even its rank is known."""

    def content(self, value: "ir.Value | None") -> Any:
        """Returns a small tensor's numbers: an array of objects, or None."""
