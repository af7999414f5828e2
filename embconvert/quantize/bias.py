"""Bias correction: the bias compensates for the mean error of a product's rounded matrix.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019),
https://arxiv.org/abs/1906.04721, section 4.2, with the means of the calibration texts. A product
without a bias gets none, which would cost a pass over the results.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product
from embconvert.rewrite.editing import only_user

if TYPE_CHECKING:
    import onnx_ir as ir


def foldable_biases(products: Sequence[Product]) -> "dict[str, ir.Value]":
    """Returns the constant bias of each matrix that always has the same one, by matrix."""
    found: dict[str, set[ir.Value | None]] = {}
    for product in products:
        found.setdefault(product.matrix.name, set()).add(bias_of(product))
    return {
        name: bias
        for name, biases in found.items()
        for bias in biases
        if bias is not None and len(biases) == 1
    }


def bias_of(product: Product) -> "ir.Value | None":
    """Returns the constant that is added to a product's results, (rows,) float32, or None."""
    place = _place(product)
    value = product.bias if place is None else place[0].inputs[place[1]]
    tensor = None if value is None or not value.is_initializer() else value.const_value
    if tensor is None or tuple(tensor.shape) != product.matrix.shape[:1]:
        return None
    return value


def replace_bias(product: Product, bias: "ir.Value") -> None:
    """Replaces the bias that is added to a product's results."""
    place = _place(product)
    assert place is not None
    node, index = place
    node.replace_input_with(index, bias)


def correction(
    weights: FloatArray, integers: npt.NDArray[np.int8], scales: FloatArray, mean: FloatArray
) -> FloatArray:
    """Returns the mean error of a product's results, (rows,) float32.

    Args:
        weights: (rows, inner) float32.
        integers: The rounded weights, of the same shape.
        scales: (rows,) float32.
        mean: Of the activation, (inner,) float32.
    """
    missing: FloatArray = weights @ mean - (integers @ mean) * scales
    return missing


def _place(product: Product) -> "tuple[ir.Node, int] | None":
    """Returns the node that adds a product's bias, and the index of that input."""
    if product.bias is not None:
        return None
    result = product.node.outputs[0]
    node = only_user(result, "Add", "BiasGelu", "FastGelu")
    if node is None or len(node.inputs) < 2:
        return None
    return node, 1 if node.inputs[0] is result else 0
