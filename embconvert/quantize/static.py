"""8-bit weights and activations, with activation scales from calibration."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embconvert.models.recipes import CalibrationMethod, QuantFormat, QuantizeOptions, Recipe
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.integers import (
    Weights,
    replace_lookup,
    replace_products,
)
from embconvert.quantize.limits import weight_limits
from embconvert.quantize.products import Matrix, Product
from embconvert.quantize.ranges import Range, histogram_ranges
from embconvert.quantize.sensitivity import without_most_sensitive
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.smooth import smoothing_for_one_scale
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import dividing_factors, make_treatments
from embconvert.rewrite.editing import MICROSOFT

if TYPE_CHECKING:
    import onnx_ir as ir

_STEPS = 255


def static_int8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QInt8Static: signed weights, unsigned activations with a zero point.

    Matrix products have the weights and take the time. Quantizing other operators (Add, Softmax) or
    the results costs accuracy and saves nothing.
    """
    options = settings.options
    surgery = Surgery(path)
    products = surgery.products()
    channels = channel_statistics(surgery, products, settings, extremes=True)
    factors = dividing_factors(products, channels, options.recipes, partial(_smoothing, options))
    if options.calibration_method is CalibrationMethod.MINMAX:
        ranges = _extremes(channels, factors)
    else:
        ranges = histogram_ranges(surgery, products, settings, factors)
    treatments = make_treatments(surgery, products, settings, channels, factors)
    if Recipe.MIXED in options.recipes:

        def rounding(name: str, values: FloatArray) -> FloatArray:
            scale, zero = _grid(ranges[name])
            integers = np.clip(np.rint(values / scale) + np.float32(zero), 0, _STEPS)
            return np.asarray((integers - np.float32(zero)) * scale, np.float32)

        products = without_most_sensitive(surgery, products, settings, treatments, rounding)
    multiply = _StaticMatMul(surgery, ranges, options.quant_format)
    replace_products(surgery, products, treatments, options, multiply)
    for lookup in surgery.lookups():
        replace_lookup(surgery, lookup, row_scales=Recipe.ROW_TABLE in options.recipes)
    return surgery.finished()


def _smoothing(
    options: QuantizeOptions, channels: Channels, matrices: Sequence[Matrix]
) -> FloatArray | None:
    rows = [matrix.rows() for matrix in matrices]
    return smoothing_for_one_scale(channels, rows, weight_limits(options).usual, _STEPS)


def _grid(ends: Range) -> tuple[np.float32, np.uint8]:
    """Returns the scale and the zero point for a range, extended to 0."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = np.float32((high - low) / _STEPS) or np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, _STEPS))


def _extremes(
    channels: Mapping[str, Channels], factors: Mapping[str, FloatArray]
) -> dict[str, Range]:
    """Returns the lowest and the highest value of each divided activation."""
    return {
        name: (
            float((known.lowest / factors.get(name, np.float32(1))).min()),
            float((known.highest / factors.get(name, np.float32(1))).max()),
        )
        for name, known in channels.items()
    }


class _StaticMatMul:
    """Adds products of statically quantized activations, in either format."""

    def __init__(
        self, surgery: Surgery, ranges: Mapping[str, Range], quant_format: QuantFormat
    ) -> None:
        self._editor = surgery.editor
        self._ranges = ranges
        self._format = quant_format
        self._activations: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
        self._rounded: dict[str, ir.Value] = {}

    def __call__(self, product: Product, value: "ir.Value", weights: Weights) -> "ir.Value":
        """Quantizes an activation, once for all its products, and multiplies."""
        editor, node, name = self._editor, product.node, product.activation
        if name not in self._activations:
            step, middle = _grid(self._ranges[name])
            scale = editor.constant(step, "scale")
            zero = editor.constant(middle, "zero_point")
            self._activations[name] = (
                editor.add("QuantizeLinear", [value, scale, zero], node),
                scale,
                zero,
            )
        integers, scale, zero = self._activations[name]
        if self._format is QuantFormat.QOPERATOR:
            return editor.add(
                "MatMulIntegerToFloat",
                [integers, weights.integers, scale, weights.scales, zero, weights.zero],
                node,
                domain=MICROSOFT,
            )
        if name not in self._rounded:
            self._rounded[name] = editor.add("DequantizeLinear", [integers, scale, zero], node)
        matrix = editor.add("DequantizeLinear", [weights.integers, weights.scales], node, axis=1)
        return editor.add("MatMul", [self._rounded[name], matrix], node)
