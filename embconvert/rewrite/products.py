"""Products of token vectors with weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embconvert.rewrite.editing import producer

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class WeightProduct:
    """Token vectors (..., in), weights (in, out) of their product, and a bias (out), or None."""

    data: "ir.Value"
    weights: "ir.Value"
    bias: "ir.Value | None"

    @property
    def width(self) -> int:
        """Of the result."""
        return _shape(self.weights)[1]


def product_of(value: "ir.Value") -> WeightProduct | None:
    """Returns the product, with its bias, that computes a value, or None."""
    node = producer(value, "MatMul", "Add")
    bias = None
    if node is not None and node.op_type == "Add":
        biases = [v for v in node.inputs if v is not None and len(_shape(v)) == 1]
        products = [v for v in node.inputs if v not in biases]
        if len(biases) != 1 or len(products) != 1:
            return None
        bias, node = biases[0], producer(products[0], "MatMul")
    if node is None:
        return None
    data, weights = node.inputs
    if data is None or weights is None or len(_shape(weights)) != 2:
        return None
    return WeightProduct(data, weights, bias)


def _shape(value: "ir.Value") -> tuple[int, ...]:
    """Returns a constant's sizes, or () for other values."""
    return tuple(value.const_value.shape.numpy()) if value.const_value is not None else ()
