"""Blockwise quantization: MatMulNBits for products, GatherBlockQuantized for tables.

Only the nodes that read a weight change. Both operators are in the domain `com.microsoft`, so the
opset does not change. A product's activations are quantized, too, in blocks of a token (accuracy
level 4), so a vector does not depend on its batch. Batched constants, such as deberta's projected
relative positions, and constant left operands are not changed.

The scales of tables are stored as halves. Those of products are not: without graph optimizations,
ONNX Runtime packs the weights with scales that it has not computed yet, and gives wrong results.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from embconvert.models.recipes import Recipe
from embconvert.quantize.blocks import BlockFormat, ByteArray, FloatArray, quantize_blocks
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.divided import DividedActivations
from embconvert.quantize.gptq import gptq_blocks
from embconvert.quantize.half_scales import Scales, halves
from embconvert.quantize.mixed import affordable_share, most_moved, relative_error
from embconvert.quantize.moments import Moments, second_moments
from embconvert.quantize.products import Lookup, Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import PartToStore, Surgery
from embconvert.quantize.treatments import (
    DIVIDING,
    Treatment,
    divided_moments,
    divided_weights,
    dividing_factors,
    smooth_runs,
)
from embconvert.rewrite.editing import MICROSOFT

if TYPE_CHECKING:
    import onnx_ir as ir

_8_BITS = BlockFormat(bits=8, block_size=32)
_4_BITS = BlockFormat(bits=4, block_size=32)
_LOOKUP = "GatherBlockQuantized"
# Quantizes activations to int8; the operator's default, float32, is slower.
_ACCURACY_LEVEL = 4
# Of smoothing: with 0.5, the activations lose more than the weights (docs/quality.md).
_ALPHA = 0.6


def blockwise_8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q8: 8-bit matrices and tables; for its recipes see `smooth` and `split`."""
    surgery = Surgery(path)
    products = surgery.products()
    activations = _activations(surgery, products, settings, {})
    for product in products:
        _replace_product(surgery, product, _8_BITS, activations)
    scales = _possible(Scales.HALVES, settings)
    _replace_lookups(surgery, settings.options.table_bits or 8, scales)
    return surgery.finished()


def blockwise_4(
    path: Path, settings: QuantizeSettings, *, table_scales: Scales = Scales.HALVES
) -> "ir.Model":
    """Q4: 4-bit matrices and token table; for its recipes see also `gptq` and `mixed`."""
    table_scales = _possible(table_scales, settings)
    recipes = settings.options.recipes
    token_bits = settings.options.table_bits or 4
    surgery = Surgery(path)
    products = surgery.products()
    moments: dict[str, Moments] = {}
    if {Recipe.GPTQ, Recipe.MIXED} & set(recipes):
        moments = second_moments(surgery, products, settings)
    activations = _activations(surgery, products, settings, moments)
    with_8_bits: set[str] = set()
    if Recipe.MIXED in recipes:
        with_8_bits = most_moved(
            {
                product.matrix.name: _moved(product, activations.treatment(product))
                for product in products
            },
            {product.matrix.name: product.matrix.tensor.size for product in products},
            _share_with_8_bits(products, surgery.lookups(), token_bits, table_scales),
        )
    for product in products:
        more = product.matrix.name in with_8_bits
        gptq = Recipe.GPTQ in recipes and not more
        _replace_product(surgery, product, _8_BITS if more else _4_BITS, activations, gptq=gptq)
    _replace_lookups(surgery, token_bits, table_scales)
    return surgery.finished()


def _possible(scales: Scales, settings: QuantizeSettings) -> Scales:
    """Returns how a table's scales are stored; the standard form needs constant ones."""
    replaced = f"{MICROSOFT}.{_LOOKUP}" in settings.replaced
    return Scales.FLOAT32 if replaced else scales


def _share_with_8_bits(
    products: Sequence[Product], lookups: Sequence[Lookup], token_bits: int, scales: Scales
) -> float:
    matrices = {product.matrix.name: product.matrix for product in products}.values()
    tables = {lookup.matrix.name: lookup for lookup in lookups}.values()
    few, more = (
        sum(block_format.nbytes(*m.shape) for m in matrices) for block_format in (_4_BITS, _8_BITS)
    )
    weights = [*(m.tensor for m in matrices), *(t.matrix.tensor for t in tables)]
    return affordable_share(
        few,
        more,
        tables=sum(_table_form(t, token_bits, scales).nbytes(*t.matrix.shape) for t in tables),
        float32=sum(4 * tensor.size for tensor in weights),
    )


def _moved(product: Product, treatment: Treatment) -> float:
    """Returns the relative error of a product's results if its matrix has 4 bits."""
    moments = divided_moments(treatment)
    assert moments is not None
    return relative_error(divided_weights(product.matrix.rows(), treatment), _4_BITS, moments)


def _activations(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    moments: Mapping[str, Moments],
) -> DividedActivations:
    """Returns the activations with their treatments and these moments."""
    recipes = settings.options.recipes
    channels: dict[str, Channels] = {}
    if DIVIDING & set(recipes):
        channels = channel_statistics(surgery, products, settings)
    factors = dividing_factors(products, channels, recipes, partial(smooth_runs, alpha=_ALPHA))
    names = {product.activation for product in products}
    return DividedActivations(
        surgery,
        {n: Treatment(factors=factors.get(n), moments=moments.get(n)) for n in names},
    )


def _replace_product(
    surgery: Surgery,
    product: Product,
    block_format: BlockFormat,
    activations: DividedActivations,
    *,
    gptq: bool = False,
) -> None:
    """Replaces a product; its matrix is rounded to the nearest integers or by GPTQ."""
    import onnx_ir as ir

    node, matrix = product.node, product.matrix
    rows, inner = matrix.shape
    treatment = activations.treatment(product)

    def make() -> tuple[ByteArray, FloatArray]:
        moments = divided_moments(treatment) if gptq else None
        if moments is not None:
            blocks = gptq_blocks(divided_weights(matrix.rows(), treatment), block_format, moments)
        else:
            blocks = quantize_blocks(
                matrix.stored(),
                block_format,
                transposed=matrix.transposed,
                factors=treatment.weight_factors,
            )
        return blocks.packed, blocks.scales

    shape = (rows, block_format.blocks(inner))
    weights = surgery.weights(
        matrix.name,
        make,
        (ir.DataType.UINT8, (*shape, block_format.block_bytes)),
        (ir.DataType.FLOAT, shape),
    )
    result = surgery.editor.add(
        "MatMulNBits",
        [activations.divided(product), *weights],
        node,
        domain=MICROSOFT,
        K=inner,
        N=rows,
        bits=block_format.bits,
        block_size=block_format.block_size,
        accuracy_level=_ACCURACY_LEVEL,
    )
    result = activations.with_split(product, result)
    if product.bias is not None:
        result = surgery.editor.add("Add", [result, product.bias], node)
    surgery.editor.replace(node.outputs[0], result)


def _replace_lookups(surgery: Surgery, token_bits: int, scales: Scales) -> None:
    for lookup in surgery.lookups():
        _replace_lookup(surgery, lookup, _table_form(lookup, token_bits, scales))


def _table_form(lookup: Lookup, token_bits: int, scales: Scales) -> BlockFormat:
    """Returns a table's format; tables that are not indexed by tokens get 8 bits."""
    bits = token_bits if lookup.of_tokens and lookup.matrix.shape[1] % 2 == 0 else 8
    return BlockFormat(bits=bits, block_size=32, scales=scales)


def _replace_lookup(surgery: Surgery, lookup: Lookup, block_format: BlockFormat) -> None:
    import onnx_ir as ir

    rows, inner = lookup.matrix.shape
    row_bytes = inner * block_format.bits // 8  # the operator allows no padding here
    node, shape = lookup.node, (rows, block_format.blocks(inner))
    in_halves = block_format.scales is Scales.HALVES

    def make() -> list[npt.NDArray[Any]]:
        blocks = quantize_blocks(lookup.matrix.stored(), block_format)
        stored = halves(blocks.scales) if in_halves else (blocks.scales,)
        return [blocks.packed.reshape(rows, -1)[:, :row_bytes], *stored]

    parts: list[PartToStore] = [(ir.DataType.UINT8, (rows, row_bytes))]
    if in_halves:
        parts += [(ir.DataType.FLOAT16, shape), (ir.DataType.FLOAT, ())]
    else:
        parts += [(ir.DataType.FLOAT, shape)]
    integers, scales, *unit = surgery.weights(
        f"{lookup.matrix.name}_table", make, *parts, names=("quantized", "scales", "scales_unit")
    )
    if unit:
        scales = surgery.editor.add("Cast", [scales], node, to=int(ir.DataType.FLOAT))
        scales = surgery.editor.add("Mul", [scales, *unit], node)
    result = surgery.editor.add(
        _LOOKUP,
        [integers, node.inputs[1], scales],
        node,
        domain=MICROSOFT,
        bits=block_format.bits,
        block_size=block_format.block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    surgery.editor.replace(node.outputs[0], result)
