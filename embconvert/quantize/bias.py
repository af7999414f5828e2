"""Bias correction: what rounding a matrix adds to the mean of its results leaves by the bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019),
https://arxiv.org/abs/1906.04721, section 4.2, with the means of the calibration texts. Where a
product has no bias there is no correction: it would cost a pass over the results.
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
    """Returns the constant bias of each matrix that has one and always the same, by its name."""
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
    """Returns the constant vector that is added to a product's results, (rows,) float32."""
    place = _place(product)
    value = product.bias if place is None else place[0].inputs[place[1]]
    tensor = None if value is None or not value.is_initializer() else value.const_value
    if tensor is None or tuple(tensor.shape) != product.matrix.shape[:1]:
        return None
    return value


def replace_bias(product: Product, bias: "ir.Value") -> None:
    """Makes what adds a product's bias add another one."""
    place = _place(product)
    assert place is not None
    node, index = place
    node.replace_input_with(index, bias)


def correction(
    weights: FloatArray, integers: npt.NDArray[np.int8], scales: FloatArray, mean: FloatArray
) -> FloatArray:
    """Returns what is missing of a product's mean result, (rows,) float32.

    Args:
        weights: (rows, inner) float32.
        integers: What they became, of the same shape.
        scales: (rows,) float32.
        mean: Of the activation, (inner,) float32.
    """
    missing: FloatArray = weights @ mean - (integers @ mean) * scales
    return missing


def _place(product: Product) -> "tuple[ir.Node, int] | None":
    """Returns the node after a product that adds its bias, and the input that is the bias."""
    if product.bias is not None:
        return None
    result = product.node.outputs[0]
    node = only_user(result, "Add", "BiasGelu", "FastGelu")
    if node is None or len(node.inputs) < 2:
        return None
    return node, 1 if node.inputs[0] is result else 0
