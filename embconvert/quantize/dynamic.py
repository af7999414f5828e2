"""8-bit weights, and 8-bit activations that are quantized as the graph runs.

The integer kernels take one scale and one zero point for the whole activation. ONNX Runtime's own
dynamic quantization chooses them of all tokens of a batch: one token with a large value costs all
others their precision, and a vector depends on its batch. Here each token has a scale of its own:
the activation is divided by it before the product, and the result multiplied with it after; the
kernel sees one scale that never changes. That is ordinary ONNX around the kernel's operator, so
nothing newer is needed.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embconvert.models.choices import Recipe
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.integers import Weights, replace_lookup, replace_products
from embconvert.quantize.products import Product
from embconvert.quantize.sensitivity import without_most_sensitive
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import LOOKING, dividing_factors, make_treatments, smooth_runs
from embconvert.rewrite.editing import MICROSOFT

if TYPE_CHECKING:
    import onnx_ir as ir

_LIMIT = 127
_MIDDLE = 128
_STEPS = 255
# A token of zeros only has no range; any does.
_LEAST_RANGE = 1e-8


def dynamic_int8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QInt8: signed weights."""
    return _quantize(path, settings, signed=True)


def dynamic_uint8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QUInt8: unsigned weights, 128 for zero."""
    return _quantize(path, settings, signed=False)


def _quantize(path: Path, settings: QuantizeSettings, *, signed: bool) -> "ir.Model":
    recipes = settings.options.recipes
    surgery = Surgery(path)
    products = surgery.products()
    channels: dict[str, Channels] = {}
    if LOOKING & set(recipes):
        channels = channel_statistics(surgery, products, settings)
    factors = dividing_factors(products, channels, recipes, smooth_runs)
    treatments = make_treatments(surgery, products, settings, channels, factors)
    token_scales = Recipe.TOKEN_SCALES in recipes
    if Recipe.MIXED in recipes:
        rounding = partial(_rounded, token_scales=token_scales)
        products = without_most_sensitive(surgery, products, settings, treatments, rounding)
    multiply = _Multiply(surgery, token_scales=token_scales)
    replace_products(surgery, products, treatments, settings.options, multiply, signed=signed)
    for lookup in surgery.lookups():
        replace_lookup(surgery, lookup, row_scales=Recipe.ROW_TABLE in recipes)
    return surgery.finished()


def _rounded(_: str, values: FloatArray, *, token_scales: bool) -> FloatArray:
    """Rounds an activation, (tokens, channels) float32, as the graph will."""
    if token_scales:
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), _LEAST_RANGE) / _LIMIT
        return np.asarray(np.rint(values / scale) * scale, np.float32)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = np.float32((high - low) / _STEPS) or np.float32(1)
    return np.asarray(np.rint(values / step) * step, np.float32)


class _Activation(NamedTuple):
    """A quantized activation: integers, their one scale and zero point, and each token's scale."""

    integers: "ir.Value"
    scale: "ir.Value"
    zero: "ir.Value"
    token_scales: "ir.Value | None"


class _Multiply:
    """Adds products of integers."""

    def __init__(self, surgery: Surgery, *, token_scales: bool) -> None:
        self._surgery = surgery
        self._editor = surgery.editor
        self._token_scales = token_scales
        self._activations: dict[str, _Activation] = {}

    def __call__(self, product: Product, value: "ir.Value", weights: Weights) -> "ir.Value":
        """Quantizes an activation, once for all products with it, and multiplies."""
        node, name = product.node, product.activation
        if name not in self._activations:
            self._activations[name] = self._quantized(node, value)
        activation = self._activations[name]
        result = self._editor.add(
            "MatMulIntegerToFloat",
            [
                activation.integers, weights.integers, activation.scale, weights.scales,
                activation.zero, weights.zero,
            ],
            node,
            domain=MICROSOFT,
        )  # fmt: skip
        if activation.token_scales is not None:
            result = self._editor.add("Mul", [result, activation.token_scales], node)
        return result

    def _quantized(self, node: "ir.Node", value: "ir.Value") -> _Activation:
        editor = self._editor
        if not self._token_scales:
            integers, scale, zero = self._surgery.quantize_dynamically(value, node)
            return _Activation(integers, scale, zero, None)
        largest = self._surgery.reduce_max(editor.add("Abs", [value], node), node)
        least = editor.constant(np.float32(_LEAST_RANGE), "least_range")
        largest = editor.add("Max", [largest, least], node)
        limit = editor.constant(np.float32(_LIMIT), "limit")
        one = editor.constant(np.float32(1), "one")
        middle = editor.constant(np.uint8(_MIDDLE), "middle")
        # Multiplying a whole activation is quicker than dividing it.
        scaled = editor.add("Mul", [value, editor.add("Div", [limit, largest], node)], node)
        integers = editor.add("QuantizeLinear", [scaled, one, middle], node)
        # The kernel divides by the limit, the token's largest value is multiplied back after it.
        return _Activation(
            integers, editor.constant(np.float32(1 / _LIMIT), "step"), middle, largest
        )
