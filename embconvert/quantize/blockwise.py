"""Blockwise weights: MatMulNBits for matrix products, GatherBlockQuantized for tables.

Nothing of a graph changes but the nodes that read a weight. Both operators are of the domain
`com.microsoft` and need no newer opset, so none is declared. A product's activations are
quantized too, each run of `block_size` of a token by itself (accuracy level 4), so a vector does
not depend on its batch. Batched constants, as deberta's projected relative positions, and a
product's constant left operand stay as they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.models.choices import Recipe
from embconvert.quantize.activations import Moments, second_moments
from embconvert.quantize.blocks import BlockFormat, ByteArray, FloatArray, quantize_blocks
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.divided import DividedActivations
from embconvert.quantize.gptq import gptq_blocks
from embconvert.quantize.mixed import SHARE, most_moved, relative_error
from embconvert.quantize.products import Lookup, Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery
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
# Activations become int8; at the operator's default they stay float32, which is slower.
_ACCURACY_LEVEL = 4


def blockwise_8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q8: 8-bit matrices and tables; by its recipes, see `smooth` and `split`."""
    surgery = Surgery(path)
    products = surgery.products()
    activations = _activations(surgery, products, settings, {})
    for product in products:
        _replace_product(surgery, product, _8_BITS, activations)
    _replace_lookups(surgery, settings.options.table_bits or 8)
    return surgery.finished()


def blockwise_4(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q4: 4-bit matrices and token table; by its recipes, see `gptq` and `mixed` as well."""
    recipes = settings.options.recipes
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
            SHARE,
        )
    for product in products:
        more = product.matrix.name in with_8_bits
        gptq = Recipe.GPTQ in recipes and not more
        _replace_product(surgery, product, _8_BITS if more else _4_BITS, activations, gptq=gptq)
    _replace_lookups(surgery, settings.options.table_bits or 4)
    return surgery.finished()


def _moved(product: Product, treatment: Treatment) -> float:
    """Returns how far rounding a product's matrix to 4 bits moves its results."""
    moments = divided_moments(treatment)
    assert moments is not None
    return relative_error(divided_weights(product.matrix.rows(), treatment), _4_BITS, moments)


def _activations(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    moments: Mapping[str, Moments],
) -> DividedActivations:
    """Returns the activations with their treatments, whose moments are those given."""
    recipes = settings.options.recipes
    channels: dict[str, Channels] = {}
    if DIVIDING & set(recipes):
        channels = channel_statistics(surgery, products, settings)
    factors = dividing_factors(products, channels, recipes, smooth_runs)
    names = {product.activation for product in products}
    return DividedActivations(
        surgery,
        {n: Treatment(factors=factors.get(n), moments=moments.get(n)) for n in names},
    )


def _replace_product(
    surgery: Surgery,
    product: Product,
    form: BlockFormat,
    activations: DividedActivations,
    *,
    gptq: bool = False,
) -> None:
    """Replaces a product, its matrix rounded to the nearest or by GPTQ."""
    import onnx_ir as ir

    node, matrix = product.node, product.matrix
    rows, inner = matrix.shape
    treatment = activations.treatment(product)

    def make() -> tuple[ByteArray, FloatArray]:
        moments = divided_moments(treatment) if gptq else None
        if moments is not None:
            blocks = gptq_blocks(divided_weights(matrix.rows(), treatment), form, moments)
        else:
            blocks = quantize_blocks(
                matrix.stored(),
                form,
                transposed=matrix.transposed,
                factors=treatment.weight_factors,
            )
        return blocks.packed, blocks.scales

    shape = (rows, form.blocks(inner))
    weights = surgery.weights(
        matrix.name,
        make,
        (ir.DataType.UINT8, (*shape, form.block_bytes)),
        (ir.DataType.FLOAT, shape),
    )
    result = surgery.editor.add(
        "MatMulNBits",
        [activations.divided(product), *weights],
        node,
        domain=MICROSOFT,
        K=inner,
        N=rows,
        bits=form.bits,
        block_size=form.block_size,
        accuracy_level=_ACCURACY_LEVEL,
    )
    result = activations.with_split(product, result)
    if product.bias is not None:
        result = surgery.editor.add("Add", [result, product.bias], node)
    surgery.editor.replace(node.outputs[0], result)


def _replace_lookups(surgery: Surgery, token_bits: int) -> None:
    """Replaces the lookups; tables that others than tokens choose from get 8 bits."""
    for lookup in surgery.lookups():
        bits = token_bits if lookup.of_tokens and lookup.matrix.shape[1] % 2 == 0 else 8
        _replace_lookup(surgery, lookup, BlockFormat(bits=bits, block_size=32))


def _replace_lookup(surgery: Surgery, lookup: Lookup, form: BlockFormat) -> None:
    import onnx_ir as ir

    rows, inner = lookup.matrix.shape
    row_bytes = inner * form.bits // 8  # the operator wants no padding here

    def make() -> tuple[ByteArray, FloatArray]:
        blocks = quantize_blocks(lookup.matrix.stored(), form)
        return blocks.packed.reshape(rows, -1)[:, :row_bytes], blocks.scales

    integers, scales = surgery.weights(
        f"{lookup.matrix.name}_table",
        make,
        (ir.DataType.UINT8, (rows, row_bytes)),
        (ir.DataType.FLOAT, (rows, form.blocks(inner))),
    )
    node = lookup.node
    result = surgery.editor.add(
        "GatherBlockQuantized",
        [integers, node.inputs[1], scales],
        node,
        domain=MICROSOFT,
        bits=form.bits,
        block_size=form.block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    surgery.editor.replace(node.outputs[0], result)
