"""8-bit weights, and 8-bit activations that are quantized at run time.

The integer kernels take one scale and one zero point for the whole activation. ONNX Runtime's
dynamic quantization computes them from all tokens of a batch: a token with a large value reduces
the precision of all others, and a vector depends on its batch. Here each token has its own scale:
the activation is divided by it before the product, and the result multiplied by it afterwards; the
kernel gets a constant scale. This needs only standard ONNX around the kernel's operator.

Results of GELU and ReLU are hardly negative, so nearly all their integers are used for positive
values; also, their range needs no absolute values.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embconvert.models.recipes import Recipe
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.integers import Weights, replace_lookup, replace_products
from embconvert.quantize.products import Product
from embconvert.quantize.sensitivity import without_most_sensitive
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.shift import middles, shifted
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import LOOKING, dividing_factors, make_treatments, smooth_runs
from embconvert.rewrite.editing import MICROSOFT
from embconvert.rewrite.gelu import is_gelu

if TYPE_CHECKING:
    import onnx_ir as ir

_STEPS = 255
# Operators whose results are never below _LOWEST; GELU's minimum is -0.16997.
_HARDLY_NEGATIVE = ("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Relu")
_LOWEST = 0.17
# Integers for their negative values: a sixteenth.
_FEW = 16
# Of smoothing. Less than in blockwise.py: a row of weights has one scale for all channels, so it
# loses more by what moves to it.
_ALPHA = 0.55


def dynamic_int8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QInt8: signed weights."""
    return _quantize(path, settings, signed=True)


def dynamic_uint8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QUInt8: unsigned weights with zero point 128."""
    return _quantize(path, settings, signed=False)


def _quantize(path: Path, settings: QuantizeSettings, *, signed: bool) -> "ir.Model":
    recipes = settings.options.recipes
    surgery = Surgery(path)
    products = surgery.products()
    channels: dict[str, Channels] = {}
    if LOOKING & set(recipes):
        channels = channel_statistics(surgery, products, settings)
    offsets = middles(products, channels) if Recipe.SHIFT in recipes else {}
    moved = {n: shifted(c, offsets[n]) if n in offsets else c for n, c in channels.items()}
    factors = dividing_factors(products, moved, recipes, partial(smooth_runs, alpha=_ALPHA))
    treatments = make_treatments(surgery, products, settings, channels, factors, offsets)
    token_scales = Recipe.TOKEN_SCALES in recipes
    ranges = {p.activation: _token_range(p, factors.get(p.activation)) for p in products}
    if Recipe.MIXED in recipes:
        rounding = partial(_rounded, ranges=ranges if token_scales else {})
        products = without_most_sensitive(surgery, products, settings, treatments, rounding)
    multiply = _MatMulInteger(surgery, ranges if token_scales else {})
    replace_products(surgery, products, treatments, settings.options, multiply, signed=signed)
    for lookup in surgery.lookups():
        replace_lookup(surgery, lookup, row_scales=Recipe.ROW_TABLE in recipes)
    return surgery.finished()


class _TokenRange(NamedTuple):
    """How integers cover a token's range: the one for 0, the least scale, whether symmetric."""

    zero: int = 128
    # For tokens of only zeros, any scale works.
    least: float = 1e-10
    signed: bool = True

    @property
    def positive(self) -> int:
        """Number of integers above zero."""
        return _STEPS - self.zero


def _token_range(product: Product, factors: FloatArray | None) -> _TokenRange:
    """Returns the range of an activation after its division."""
    value = product.node.inputs[0]
    node = None if value is None else value.producer()
    if node is None or not (node.op_type in _HARDLY_NEGATIVE or is_gelu(value)):
        return _TokenRange()
    if factors is not None and factors.min() < 1:  # small negative values become large
        return _TokenRange()
    return _TokenRange(zero=_FEW, least=_LOWEST / _FEW, signed=False)


def _rounded(name: str, values: FloatArray, *, ranges: Mapping[str, _TokenRange]) -> FloatArray:
    """Rounds an activation, (tokens, channels) float32, as the graph does."""
    known = ranges.get(name)
    if known is not None:
        sizes = np.abs(values) if known.signed else values
        scale = np.maximum(sizes.max(axis=1, keepdims=True) / known.positive, known.least)
        return np.asarray(np.rint(values / scale) * scale, np.float32)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = np.float32((high - low) / _STEPS) or np.float32(1)
    return np.asarray(np.rint(values / step) * step, np.float32)


class _QuantizedActivation(NamedTuple):
    """A quantized activation: integers, their scale and zero point, and token scales."""

    integers: "ir.Value"
    scale: "ir.Value"
    zero: "ir.Value"
    token_scales: "ir.Value | None"


class _MatMulInteger:
    """Adds products of dynamically quantized activations."""

    def __init__(self, surgery: Surgery, ranges: Mapping[str, _TokenRange]) -> None:
        self._surgery = surgery
        self._editor = surgery.editor
        self._ranges = ranges
        self._activations: dict[str, _QuantizedActivation] = {}

    def __call__(self, product: Product, value: "ir.Value", weights: Weights) -> "ir.Value":
        """Quantizes an activation, once for all its products, and multiplies."""
        node, name = product.node, product.activation
        if name not in self._activations:
            self._activations[name] = self._quantized(node, value, self._ranges.get(name))
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

    def _quantized(
        self, node: "ir.Node", value: "ir.Value", known: _TokenRange | None
    ) -> _QuantizedActivation:
        editor = self._editor
        if known is None:
            integers, scale, zero = self._surgery.quantize_dynamically(value, node)
            return _QuantizedActivation(integers, scale, zero, None)
        sizes = editor.add("Abs", [value], node) if known.signed else value
        largest = self._surgery.reduce_max(sizes, node)
        # As a range, because the kernel divides by the number of integers.
        least = editor.constant(np.float32(known.least * known.positive), "least_range")
        largest = editor.add("Max", [largest, least], node)
        limit = editor.constant(np.float32(known.positive), "limit")
        one = editor.constant(np.float32(1), "one")
        zero = editor.constant(np.uint8(known.zero), "zero_point")
        # Multiplying a whole activation is quicker than dividing it.
        scaled = editor.add("Mul", [value, editor.add("Div", [limit, largest], node)], node)
        integers = editor.add("QuantizeLinear", [scaled, one, zero], node)
        # The token's largest value is multiplied back afterwards.
        step = editor.constant(np.float32(1 / known.positive), "step")
        return _QuantizedActivation(integers, step, zero, largest)
