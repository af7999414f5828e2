"""8-bit weights with one scale per channel, for products with integer activations.

The products themselves are in dynamic.py and static.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.bias import correction, foldable_biases, replace_bias
from embconvert.quantize.blocks import FloatArray, reciprocals
from embconvert.quantize.clip import clipped_scales
from embconvert.quantize.divided import DividedActivations
from embconvert.quantize.gptq import gptq_channels
from embconvert.quantize.limits import weight_limits
from embconvert.quantize.products import Lookup, Matrix, Product
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import Treatment, divided_moments, divided_weights

if TYPE_CHECKING:
    import onnx_ir as ir

_LIMIT = 127
_MIDDLE = 128


class Weights(NamedTuple):
    """A matrix as integers, (inner, rows), scales, (rows,), and a zero point, a scalar."""

    integers: "ir.Value"
    scales: "ir.Value"
    zero: "ir.Value"


#: From a product, its divided activation, (..., inner) float32, and its weights, to the result.
Multiply = Callable[[Product, "ir.Value", Weights], "ir.Value"]


def replace_products(
    surgery: Surgery,
    products: Sequence[Product],
    treatments: Mapping[str, Treatment],
    options: QuantizeOptions,
    multiply: Multiply,
    *,
    signed: bool = True,
) -> None:
    """Replaces products by integer products.

    Args:
        treatments: By activation; tied activations have the same.
        multiply: Quantizes an activation and multiplies.
        signed: Whether the weights are int8 instead of uint8 with zero point 128.
    """
    zero = np.int8(0) if signed else np.uint8(_MIDDLE)
    biases = foldable_biases(products)
    activations = DividedActivations(surgery, treatments)
    for product in products:
        treatment = activations.treatment(product)
        bias = biases.get(product.matrix.name) if treatment.mean is not None else None
        weights, corrected = _weights(surgery, product.matrix, treatment, options, zero, bias)
        result = multiply(product, activations.divided(product), weights)
        result = activations.with_split(product, result)
        if product.bias is not None:
            result = surgery.editor.add("Add", [result, corrected or product.bias], product.node)
        elif corrected is not None:
            replace_bias(product, corrected)
        surgery.editor.replace(product.node.outputs[0], result)


def _weights(
    surgery: Surgery,
    matrix: Matrix,
    treatment: Treatment,
    options: QuantizeOptions,
    zero: "np.int8 | np.uint8",
    bias: "ir.Value | None",
) -> "tuple[Weights, ir.Value | None]":
    """Returns a matrix's integers, and the corrected bias."""
    import onnx_ir as ir

    def make() -> list[npt.NDArray[Any]]:
        weights = matrix.rows()
        integers, scales = rounded_matrix(weights, treatment, options)
        parts = [_stored(integers.T, zero), scales]
        if bias is not None and treatment.mean is not None and bias.const_value is not None:
            factors = np.float32(1) if treatment.factors is None else treatment.factors
            offsets = np.float32(0) if treatment.offsets is None else treatment.offsets
            divided = divided_weights(weights, treatment)
            mean = (treatment.mean - offsets) / factors
            moved = correction(divided, integers, scales, mean)
            if treatment.offsets is not None:
                moved += divided @ (offsets / factors)
            parts.append(bias.const_value.numpy() + moved)
        return parts

    rows, inner = matrix.shape
    kind = ir.DataType.INT8 if zero.dtype == np.int8 else ir.DataType.UINT8
    shapes = [(kind, (inner, rows)), (ir.DataType.FLOAT, (rows,)), (ir.DataType.FLOAT, (rows,))]
    found = surgery.weights(matrix.name, make, *shapes[: 2 if bias is None else 3])
    weights = Weights(found[0], found[1], surgery.editor.constant(zero, "zero"))
    return weights, None if bias is None else found[2]


def rounded_matrix(
    weights: FloatArray,
    treatment: Treatment,
    options: QuantizeOptions,
    *,
    nearest_only: bool = False,
) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Rounds a matrix to integers, (rows, inner) int8, and scales, (rows,) float32.

    Args:
        weights: From the graph, (rows, inner) float32.
        nearest_only: Skip GPTQ, which is slow.
    """
    limits, factors = weight_limits(options), treatment.factors
    weights = divided_weights(weights, treatment)
    scales = limits.scales(weights)
    if treatment.squares is not None:
        squares = treatment.squares / (np.float32(1) if factors is None else factors**2)
        scales = clipped_scales(weights, scales, limits, squares)
    if not options.per_channel:
        scales = np.full_like(scales, scales.max(initial=0))
    moments = divided_moments(treatment)
    if moments is None or nearest_only:
        integers = limits.rounded(weights * reciprocals(scales)[:, None]).astype(np.int8)
        return integers, scales
    return gptq_channels(weights, scales, limits, moments), scales


def _stored(
    integers: npt.NDArray[np.int8], zero: "np.int8 | np.uint8"
) -> npt.NDArray[np.int8 | np.uint8]:
    shifted = integers.astype(np.int16) + int(zero) if zero else integers
    return np.ascontiguousarray(shifted, zero.dtype)


def round_to_nearest(weights: FloatArray, scales: FloatArray) -> npt.NDArray[np.int8]:
    """Rounds rows to (rows, inner) int8 by their scales, (rows,)."""
    integers: FloatArray = np.rint(weights * reciprocals(scales)[:, None])
    return np.clip(integers, -_LIMIT, _LIMIT, out=integers).astype(np.int8)


def replace_lookup(surgery: Surgery, lookup: Lookup, *, row_scales: bool) -> None:
    """Replaces a lookup by one of integers and, if there is a scale per row, one of scales."""
    import onnx_ir as ir

    editor, node = surgery.editor, lookup.node
    rows, width = lookup.matrix.shape

    def make() -> list[npt.NDArray[Any]]:
        return _rounded_rows(lookup.matrix.rows(), one_scale=not row_scales)

    shape = (rows, 1) if row_scales else (1, 1)
    integers, scales = surgery.weights(
        f"{lookup.matrix.name}_table",
        make,
        (ir.DataType.INT8, (rows, width)),
        (ir.DataType.FLOAT, shape),
    )
    indices = node.inputs[1]
    row = editor.add("Gather", [integers, indices], node)
    row = editor.add("Cast", [row], node, to=ir.DataType.FLOAT)
    scale: ir.Value = scales
    if row_scales:
        scale = editor.add("Gather", [scales, indices], node)
    editor.replace(node.outputs[0], editor.add("Mul", [row, scale], node))


def _rounded_rows(table: FloatArray, *, one_scale: bool) -> list[npt.NDArray[Any]]:
    """Rounds a table to integers and scales, (rows, 1) or (1, 1)."""
    scales = np.maximum(table.max(axis=1), -table.min(axis=1)) / np.float32(_LIMIT)
    if one_scale:
        scales = scales.max(keepdims=True)
    integers = np.empty(table.shape, np.int8)
    step = 1 << 12  # rows at a time, to limit the memory for a large table
    for start in range(0, len(table), step):
        part = table[start : start + step]
        known = scales if one_scale else scales[start : start + step]
        integers[start : start + step] = round_to_nearest(part, np.broadcast_to(known, len(part)))
    return [integers, scales[:, None]]
