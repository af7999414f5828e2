"""Blockwise weights: MatMulNBits for matrix products, GatherBlockQuantized for tables.

Nothing of a graph changes but the nodes that read a weight. Both operators are of the domain
`com.microsoft` and need no newer opset, so none is declared. A product's activations are
quantized too, each run of `block_size` of a token by itself (accuracy level 4), so a vector does
not depend on its batch. Batched constants, as deberta's projected relative positions, and a
product's constant left operand stay as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.config import Recipe
from embconvert.hollow import fill, hollow_out
from embconvert.onnx_file import read_model
from embconvert.quantize.activations import Moments, second_moments
from embconvert.quantize.attention import expose_attention_weights
from embconvert.quantize.blocks import BlockFormat, Blocks, FloatArray, quantize_blocks
from embconvert.quantize.gptq import gptq
from embconvert.quantize.mixed import SHARE, most_moved, relative_error
from embconvert.quantize.products import Lookup, Matrix, Product, lookups, products
from embconvert.quantize.settings import QuantizeSettings

if TYPE_CHECKING:
    import onnx_ir as ir

_8_BITS = BlockFormat(bits=8, block_size=32)
_4_BITS = BlockFormat(bits=4, block_size=32)
# Activations become int8; at the operator's default they stay float32, which is slower.
_ACCURACY_LEVEL = 4

Rounding = Callable[[FloatArray], Blocks]


def blockwise_8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q8: 8-bit matrices and tables."""
    model, _, _ = _read(path)
    rewriting = _Rewriting(model)
    for product in list(products(model)):
        rewriting.product(product, _8_BITS)
    rewriting.tables(settings.options.table_bits or 8)
    return rewriting.finished()


def blockwise_4(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q4: 4-bit matrices and token table; by its recipes, see `gptq` and `mixed`."""
    recipes = settings.options.recipes
    model, proto, weights = _read(path)
    found = list(products(model))
    moments: dict[str, Moments] = {}
    if recipes:
        names = [*(i.name or "" for i in model.graph.inputs), "attention_mask"]
        moments = second_moments(
            proto,
            weights,
            {product.activation: product.matrix.shape[1] for product in found},
            settings.calibration(list(dict.fromkeys(names))),
            settings.work,
        )
    with_8_bits: set[str] = set()
    if Recipe.MIXED in recipes:
        with_8_bits = most_moved(
            {
                product.matrix.name: relative_error(
                    product.matrix.rows(), _4_BITS, moments[product.activation]
                )
                for product in found
            },
            {product.matrix.name: product.matrix.tensor.size for product in found},
            SHARE,
        )
    rewriting = _Rewriting(model)
    for product in found:
        if product.matrix.name in with_8_bits:
            rewriting.product(product, _8_BITS)
        elif Recipe.GPTQ in recipes:
            rewriting.product(product, _4_BITS, moments[product.activation])
        else:
            rewriting.product(product, _4_BITS)
    rewriting.tables(settings.options.table_bits or 4)
    return rewriting.finished()


def _read(path: Path) -> "tuple[ir.Model, object, dict[str, ir.TensorProtocol]]":
    """Reads a graph, no weight hidden in a fused attention; returns it also as hollow_out does."""
    proto, weights = hollow_out(read_model(path))
    expose_attention_weights(proto)
    return fill(proto, weights), proto, weights


class _Rewriting:
    """Replaces nodes of a model, in place; what shares a weight shares the quantized one."""

    def __init__(self, model: "ir.Model") -> None:
        self._model = model
        self._made: dict[tuple[str, bool], list[ir.Value]] = {}

    def product(self, product: Product, form: BlockFormat, moments: Moments | None = None) -> None:
        """Replaces a product, its matrix rounded by GPTQ where the moments are given."""
        rows, inner = product.matrix.shape
        attributes = {
            "K": inner, "N": rows, "bits": form.bits, "block_size": form.block_size,
            "accuracy_level": _ACCURACY_LEVEL,
        }  # fmt: skip

        def rounding(weights: FloatArray) -> Blocks:
            if moments is None:
                return quantize_blocks(weights, form)
            return gptq(weights, form, moments)

        inputs = [
            product.node.inputs[0],
            *self._weights(product.matrix, form, rounding, padded=True),
        ]
        self._replace(product.node, "MatMulNBits", inputs, attributes, product.bias)

    def tables(self, token_bits: int) -> None:
        """Replaces the lookups; tables that others than tokens choose from get 8 bits."""
        for lookup in list(lookups(self._model)):
            bits = token_bits if lookup.of_tokens and lookup.matrix.shape[1] % 2 == 0 else 8
            self._table(lookup, BlockFormat(bits=bits, block_size=32))

    def _table(self, lookup: Lookup, form: BlockFormat) -> None:
        data, scales = self._weights(
            lookup.matrix, form, lambda weights: quantize_blocks(weights, form), padded=False
        )
        attributes = {
            "bits": form.bits, "block_size": form.block_size, "gather_axis": 0, "quantize_axis": 1,
        }  # fmt: skip
        inputs = [data, lookup.node.inputs[1], scales]
        self._replace(lookup.node, "GatherBlockQuantized", inputs, attributes)

    def finished(self) -> "ir.Model":
        """Returns the model, without the weights that it no longer reads."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        RemoveUnusedNodesPass()(self._model)
        self._model.opset_imports.setdefault("com.microsoft", 1)
        return self._model

    def _replace(
        self,
        node: "ir.Node",
        op_type: str,
        inputs: "list[ir.Value | None]",
        attributes: dict[str, int],
        bias: "ir.Value | None" = None,
    ) -> None:
        import onnx_ir as ir

        output = node.outputs[0]
        nodes = [
            ir.node(op_type, inputs, attributes, domain="com.microsoft", name=f"{node.name}_blocks")
        ]
        if bias is not None:
            nodes.append(ir.node("Add", [nodes[0].outputs[0], bias], name=f"{node.name}_bias"))
        result = nodes[-1].outputs[0]
        result.type, result.shape = output.type, output.shape
        ir.convenience.replace_nodes_and_values(
            self._model.graph, node, [node], nodes, [output], [result]
        )

    def _weights(
        self, matrix: Matrix, form: BlockFormat, rounding: Rounding, *, padded: bool
    ) -> "list[ir.Value]":
        """Returns the initializers of integers and scales, made once for all that share them."""
        key = (matrix.name, padded)
        if key not in self._made:
            parts = _Parts(matrix, form, rounding, padded=padded)
            name = matrix.name + ("" if padded else "_table")
            self._made[key] = [
                self._register(f"{name}_q{form.bits}", parts.integers()),
                self._register(f"{name}_scales", parts.scales()),
            ]
        return self._made[key]

    def _register(self, name: str, tensor: "ir.TensorProtocol") -> "ir.Value":
        import onnx_ir as ir

        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._model.graph.register_initializer(value)
        return value


class _Parts:
    """A quantized matrix as two tensors that are made when the file is written, at once.

    The integers are written first; the scales, a small part, are kept until they are.
    """

    def __init__(
        self, matrix: Matrix, form: BlockFormat, rounding: Rounding, *, padded: bool
    ) -> None:
        self._matrix = matrix
        self._form = form
        self._rounding = rounding
        self._padded = padded
        self._scales: FloatArray | None = None

    def integers(self) -> "ir.TensorProtocol":
        """The packed integers: (rows, blocks, block_bytes), or (rows, bytes) without padding."""
        import onnx_ir as ir

        rows, inner = self._matrix.shape
        row_bytes = inner * self._form.bits // 8
        shape = ir.Shape((rows, self._form.blocks(inner), self._form.block_bytes))
        if not self._padded:
            shape = ir.Shape((rows, row_bytes))

        def make() -> ir.Tensor:
            blocks = self._rounding(self._matrix.rows())
            self._scales = blocks.scales
            packed = blocks.packed
            return ir.Tensor(packed if self._padded else packed.reshape(rows, -1)[:, :row_bytes])

        return ir.LazyTensor(make, ir.DataType.UINT8, shape=shape)

    def scales(self) -> "ir.TensorProtocol":
        """The scales: (rows, blocks)."""
        import onnx_ir as ir

        rows, inner = self._matrix.shape

        def make() -> ir.Tensor:
            scales = self._scales
            self._scales = None
            return ir.Tensor(
                self._rounding(self._matrix.rows()).scales if scales is None else scales
            )

        shape = ir.Shape((rows, self._form.blocks(inner)))
        return ir.LazyTensor(make, ir.DataType.FLOAT, shape=shape)
