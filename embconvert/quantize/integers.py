"""8-bit weights of a scale for each channel, for products of which the activation is integers too.

What multiplies is another's: see dynamic.py and static.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embconvert.models.choices import QuantizeOptions
from embconvert.quantize.bias import correction, foldable_biases, replace_bias
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.clip import clipped_scales
from embconvert.quantize.divided import DividedActivations
from embconvert.quantize.gptq import gptq_channels
from embconvert.quantize.products import Lookup, Matrix, Product
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import Treatment, divided_moments, divided_weights

if TYPE_CHECKING:
    import onnx_ir as ir

# x86 without VNNI adds two products of an activation and a weight in 16 bits: 255 * 64 * 2 fits.
_LIMIT, _REDUCED_LIMIT = 127, 64
_MIDDLE = 128


class Weights(NamedTuple):
    """A matrix as integers: (inner, rows), scales (rows,), and what stands for zero, a scalar."""

    integers: "ir.Value"
    scales: "ir.Value"
    zero: "ir.Value"


#: From a product, its activation by now, (..., inner) float32, and its weights, to the result.
Multiply = Callable[[Product, "ir.Value", Weights], "ir.Value"]


def largest_integer(options: QuantizeOptions) -> int:
    """Returns the largest integer that a weight becomes; minus that is the lowest."""
    return _REDUCED_LIMIT if options.reduce_range else _LIMIT


def replace_products(
    surgery: Surgery,
    products: Sequence[Product],
    treatments: Mapping[str, Treatment],
    options: QuantizeOptions,
    multiply: Multiply,
    *,
    signed: bool = True,
) -> None:
    """Replaces products by ones of integers.

    Args:
        surgery: Has the graph.
        products: Of it.
        treatments: By the activation's name; activations that are tied have the same.
        options: What of the weights' form can be chosen.
        multiply: Adds what quantizes an activation, and multiplies.
        signed: Whether the weights are int8; else uint8 with 128 for zero.
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
    """Returns a matrix's integers, and the bias that makes good how they shift results."""
    import onnx_ir as ir

    def make() -> list[npt.NDArray[Any]]:
        weights = matrix.rows()
        integers, scales = rounded_matrix(weights, treatment, options)
        parts = [_stored(integers.T, zero), scales]
        if bias is not None and treatment.mean is not None and bias.const_value is not None:
            factors = np.float32(1) if treatment.factors is None else treatment.factors
            moved = correction(
                divided_weights(weights, treatment), integers, scales, treatment.mean / factors
            )
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
    """Rounds a matrix.

    Args:
        weights: As the graph has them, (rows, inner) float32.
        treatment: Of the activation that it multiplies.
        options: What of the weights' form can be chosen.
        nearest_only: Whether GPTQ's time is to be saved.

    Returns:
        Integers, (rows, inner) int8, and scales, (rows,) float32.
    """
    limit, factors = largest_integer(options), treatment.factors
    weights = divided_weights(weights, treatment)
    scales = np.abs(weights).max(axis=1) / np.float32(limit)
    if treatment.squares is not None:
        squares = treatment.squares / (np.float32(1) if factors is None else factors**2)
        scales = clipped_scales(weights, scales, limit, squares)
    if not options.per_channel:
        scales = np.full_like(scales, scales.max(initial=0))
    moments = divided_moments(treatment)
    if moments is None or nearest_only:
        return nearest(weights, scales, limit), scales
    return gptq_channels(weights, scales, limit, moments), scales


def _stored(
    integers: npt.NDArray[np.int8], zero: "np.int8 | np.uint8"
) -> npt.NDArray[np.int8 | np.uint8]:
    shifted = integers.astype(np.int16) + int(zero) if zero else integers
    return np.ascontiguousarray(shifted, zero.dtype)


def nearest(weights: FloatArray, scales: FloatArray, limit: int = _LIMIT) -> npt.NDArray[np.int8]:
    """Rounds rows, (rows, inner) int8, each by its scale, (rows,)."""
    reciprocal = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    integers = np.rint(weights * reciprocal[:, None])
    return np.clip(integers, -limit, limit, out=integers).astype(np.int8)


def replace_lookup(surgery: Surgery, lookup: Lookup, *, row_scales: bool) -> None:
    """Replaces a lookup by one of integers and, with a scale a row, one of scales."""
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
    """Rounds a table; returns integers of its shape, and scales, (rows, 1) or (1, 1)."""
    scales = np.maximum(table.max(axis=1), -table.min(axis=1)) / np.float32(_LIMIT)
    if one_scale:
        scales = scales.max(keepdims=True)
    integers = np.empty(table.shape, np.int8)
    step = 1 << 12  # rows at a time, so that a large table costs its result and little more
    for start in range(0, len(table), step):
        part = table[start : start + step]
        known = scales if one_scale else scales[start : start + step]
        integers[start : start + step] = nearest(part, np.broadcast_to(known, len(part)))
    return [integers, scales[:, None]]
