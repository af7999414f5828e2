"""8-bit weights of a scale for each channel, and 8-bit activations, quantized as the graph runs.

The integer kernels take one scale and one zero point for the whole activation. ONNX Runtime's own
dynamic quantization chooses them of all tokens of a batch: one token with a large value costs all
others their precision, and a vector depends on its batch. Here each token has a scale of its own:
the activation is divided by it before the product, and the result multiplied with it after; the
kernel sees a scale of one. That is ordinary ONNX around the kernel's operator, so nothing newer
is needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embconvert.config import Recipe
from embconvert.quantize.activations import Moments, mean_squares, second_moments
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.gptq import gptq_channels
from embconvert.quantize.products import Lookup, Matrix, Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.smooth import is_worth_smoothing, smoothed, smoothing
from embconvert.quantize.surgery import Surgery
from embconvert.rewrite.editing import MICROSOFT

if TYPE_CHECKING:
    import onnx_ir as ir

# x86 without VNNI adds two products of an activation and a weight in 16 bits: 255 * 64 * 2 fits.
_LIMIT, _REDUCED_LIMIT = 127, 64
_MIDDLE = 128
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
    moments: dict[str, Moments] = {}
    squares: dict[str, FloatArray] = {}
    if Recipe.GPTQ in recipes:
        moments = second_moments(surgery, products, settings)
        squares = {name: known.squares for name, known in moments.items()}
    elif Recipe.SMOOTH in recipes:
        squares = mean_squares(surgery, products, settings)
    factors: dict[str, FloatArray] = {}
    if Recipe.SMOOTH in recipes:
        for activations, matrices in _sharing(products):
            known = squares[activations[0]]
            if is_worth_smoothing(known, sum(matrix.shape[0] for matrix in matrices)):
                found = smoothing(known, (matrix.rows() for matrix in matrices))
                factors |= dict.fromkeys(activations, found)
    operators = _Operators(surgery, settings, signed=signed)
    for product in products:
        name = product.activation
        operators.replace_product(product, factors.get(name), moments.get(name))
    for lookup in surgery.lookups():
        operators.replace_lookup(lookup, row_scales=Recipe.ROW_TABLE in recipes)
    return surgery.finished()


def _sharing(products: Sequence[Product]) -> list[tuple[list[str], list[Matrix]]]:
    """Returns the activations and matrices that are tied together, each of them once.

    One activation goes to several matrices, as queries, keys and values; and where layers share
    their weights, one matrix has several activations.
    """
    groups: list[tuple[set[str], dict[str, Matrix]]] = []
    for product in products:
        tied = [
            group
            for group in groups
            if product.activation in group[0] or product.matrix.name in group[1]
        ]
        activations, matrices = {product.activation}, {product.matrix.name: product.matrix}
        for group in tied:
            groups.remove(group)
            activations |= group[0]
            matrices |= group[1]
        groups.append((activations, matrices))
    return [(sorted(names), [found[n] for n in sorted(found)]) for names, found in groups]


class _Activation(NamedTuple):
    """A quantized activation: integers, their one scale and zero point, and each token's scale."""

    integers: "ir.Value"
    scale: "ir.Value"
    zero: "ir.Value"
    token_scales: "ir.Value | None"


class _Operators:
    """Replaces products and lookups by their 8-bit forms."""

    def __init__(self, surgery: Surgery, settings: QuantizeSettings, *, signed: bool) -> None:
        self._surgery = surgery
        self._editor = surgery.editor
        self._options = settings.options
        self._limit = _REDUCED_LIMIT if self._options.reduce_range else _LIMIT
        self._zero = np.int8(0) if signed else np.uint8(_MIDDLE)
        self._activations: dict[str, _Activation] = {}

    def replace_product(
        self, product: Product, factors: FloatArray | None, moments: Moments | None
    ) -> None:
        """Replaces a product.

        Args:
            product: What to replace.
            factors: What its activation is divided by, the same for all that share it; or None.
            moments: Of the activation, for GPTQ; None rounds to the nearest.
        """
        node = product.node
        integers, scales = self._weights(product.matrix, factors, moments)
        if product.activation not in self._activations:
            self._activations[product.activation] = self._quantized(node, factors)
        activation = self._activations[product.activation]
        result = self._editor.add(
            "MatMulIntegerToFloat",
            [
                activation.integers, integers, activation.scale, scales, activation.zero,
                self._editor.constant(self._zero, "zero"),
            ],
            node,
            domain=MICROSOFT,
        )  # fmt: skip
        if activation.token_scales is not None:
            result = self._editor.add("Mul", [result, activation.token_scales], node)
        if product.bias is not None:
            result = self._editor.add("Add", [result, product.bias], node)
        self._editor.replace(node.outputs[0], result)

    def _quantized(self, node: "ir.Node", factors: FloatArray | None) -> _Activation:
        """Quantizes what a node multiplies."""
        editor = self._editor
        value = node.inputs[0]
        if factors is not None:
            value = editor.add("Mul", [value, editor.constant(1 / factors, "smoothing")], node)
        if Recipe.TOKEN_SCALES not in self._options.recipes:
            integers, scale, zero = self._surgery.quantize_dynamically(value, node)
            return _Activation(integers, scale, zero, None)
        largest = self._surgery.reduce_max(editor.add("Abs", [value], node), node)
        least = editor.constant(np.float32(_LEAST_RANGE), "least_range")
        largest = editor.add("Max", [largest, least], node)
        limit = editor.constant(np.float32(_LIMIT), "limit")
        scales = editor.add("Div", [largest, limit], node)
        one = editor.constant(np.float32(1), "one")
        middle = editor.constant(np.uint8(_MIDDLE), "middle")
        # Multiplying a whole activation is quicker than dividing it.
        scaled = editor.add("Mul", [value, editor.add("Div", [limit, largest], node)], node)
        integers = editor.add("QuantizeLinear", [scaled, one, middle], node)
        return _Activation(integers, one, middle, scales)

    def replace_lookup(self, lookup: Lookup, *, row_scales: bool) -> None:
        """Replaces a lookup by one of integers and, with a scale a row, one of scales."""
        import onnx_ir as ir

        editor, node = self._editor, lookup.node
        rows, width = lookup.matrix.shape
        kind = ir.DataType.INT8

        def make() -> tuple[npt.NDArray[Any], FloatArray]:
            return _rounded_rows(lookup.matrix.rows(), one_scale=not row_scales)

        shape = (rows, 1) if row_scales else (1, 1)
        integers, scales = self._surgery.weights(
            f"{lookup.matrix.name}_table", make, (kind, (rows, width)), (ir.DataType.FLOAT, shape)
        )
        indices = node.inputs[1]
        row = editor.add("Gather", [integers, indices], node)
        row = editor.add("Cast", [row], node, to=ir.DataType.FLOAT)
        scale: ir.Value = scales
        if row_scales:
            scale = editor.add("Gather", [scales, indices], node)
        editor.replace(node.outputs[0], editor.add("Mul", [row, scale], node))

    def _weights(
        self, matrix: Matrix, factors: FloatArray | None, moments: Moments | None
    ) -> "list[ir.Value]":
        """Returns a matrix's integers, as MatMul has them, and scales."""
        import onnx_ir as ir

        def make() -> tuple[npt.NDArray[Any], FloatArray]:
            weights = matrix.rows()
            known = moments
            if factors is not None:
                weights = weights * factors
                known = None if known is None else smoothed(known, factors)
            scales = np.abs(weights).max(axis=1) / np.float32(self._limit)
            if not self._options.per_channel:
                scales[:] = scales.max(initial=0)
            if known is not None:
                integers = gptq_channels(weights, scales, self._limit, known)
            else:
                integers = _nearest(weights, scales)
            return self._stored(integers.T), scales

        rows, inner = matrix.shape
        kind = ir.DataType.INT8 if self._zero.dtype == np.int8 else ir.DataType.UINT8
        return self._surgery.weights(
            matrix.name, make, (kind, (inner, rows)), (ir.DataType.FLOAT, (rows,))
        )

    def _stored(self, integers: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
        shifted = integers.astype(np.int16) + int(self._zero) if self._zero else integers
        return np.ascontiguousarray(shifted, self._zero.dtype)


def _nearest(weights: FloatArray, scales: FloatArray) -> npt.NDArray[np.int8]:
    """Rounds rows, (rows, inner) int8, each by its scale, (rows,)."""
    reciprocal = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    nearest: npt.NDArray[np.int8] = np.rint(weights * reciprocal[:, None]).astype(np.int8)
    return nearest


def _rounded_rows(table: FloatArray, *, one_scale: bool) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Rounds a table; returns integers of its shape, and scales, (rows, 1) or (1, 1)."""
    scales = np.maximum(table.max(axis=1), -table.min(axis=1)) / np.float32(_LIMIT)
    if one_scale:
        scales = scales.max(keepdims=True)
    integers = np.empty(table.shape, np.int8)
    step = 1 << 12  # rows at a time, so that a large table costs its result and little more
    for start in range(0, len(table), step):
        part = table[start : start + step]
        known = scales if one_scale else scales[start : start + step]
        integers[start : start + step] = _nearest(part, np.broadcast_to(known, len(part)))
    return integers, scales[:, None]
