"""Blockwise weights: MatMulNBits for matrix products, GatherBlockQuantized for tables.

Nothing of a graph changes but the nodes that read a weight. Both operators are of the domain
`com.microsoft` and need no newer opset, so none is declared. A product's activations are
quantized too, each run of `block_size` of a token by itself (accuracy level 4), so a vector does
not depend on its batch. Batched constants, as deberta's projected relative positions, and a
product's constant left operand stay as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.hollow import fill, hollow_out
from embconvert.onnx_file import read_model
from embconvert.quantize.attention import expose_attention_weights
from embconvert.quantize.blocks import BlockFormat, Blocks, FloatArray, quantize_blocks
from embconvert.quantize.settings import QuantizeSettings

if TYPE_CHECKING:
    import onnx_ir as ir

# Smaller tables, as of token types, save nothing worth the change.
_SMALLEST_TABLE_BYTES = 1 << 14
# Activations become int8; at the operator's default they stay float32, which is slower.
_ACCURACY_LEVEL = 4


def blockwise_8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q8: 8-bit matrices and tables."""
    del settings
    form = BlockFormat(bits=8, block_size=32)
    return _quantize(path, products=form, tables=form)


def _quantize(path: Path, *, products: BlockFormat, tables: BlockFormat) -> "ir.Model":
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    proto, weights = hollow_out(read_model(path))
    expose_attention_weights(proto)
    model = fill(proto, weights)
    rewriting = _Rewriting(model)
    for node in list(model.graph):
        if node.op_type in ("MatMul", "Gemm"):
            rewriting.product(node, products)
        elif node.op_type == "Gather":
            rewriting.table(node, tables)
    RemoveUnusedNodesPass()(model)
    model.opset_imports.setdefault("com.microsoft", 1)
    return model


@dataclass(frozen=True)
class _Matrix:
    """A constant matrix whose rows blocks run along.

    Attributes:
        value: Where the graph has it.
        transposed: Whether a row is a column of the graph's tensor.
    """

    value: "ir.Value"
    transposed: bool

    @property
    def tensor(self) -> "ir.TensorProtocol":
        """Its float32 tensor."""
        assert self.value.const_value is not None
        return self.value.const_value

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and weights of a row."""
        first, second = self.tensor.shape.numpy()
        return (second, first) if self.transposed else (first, second)


class _Rewriting:
    """Replaces nodes of a model, in place; what shares a weight shares the quantized one."""

    def __init__(self, model: "ir.Model") -> None:
        self._model = model
        self._made: dict[tuple[str | None, bool, BlockFormat, bool], list[ir.Value]] = {}

    def product(self, node: "ir.Node", form: BlockFormat) -> None:
        """Replaces a MatMul or Gemm with a constant matrix on the right."""
        matrix = _constant_matrix(node, 1, transposed=not node.attributes.get_int("transB", 0))
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        scaled = any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
        if matrix is None or scaled or node.attributes.get_int("transA", 0):
            return
        rows, inner = matrix.shape
        attributes = {
            "K": inner, "N": rows, "bits": form.bits, "block_size": form.block_size,
            "accuracy_level": _ACCURACY_LEVEL,
        }  # fmt: skip
        inputs = [node.inputs[0], *self._weights(matrix, form, padded=True)]
        self._replace(node, "MatMulNBits", inputs, attributes, bias)

    def table(self, node: "ir.Node", form: BlockFormat) -> None:
        """Replaces a Gather of rows of a constant matrix."""
        matrix = _constant_matrix(node, 0, transposed=False)
        if matrix is None or node.attributes.get_int("axis", 0) != 0:
            return
        if matrix.tensor.nbytes < _SMALLEST_TABLE_BYTES:
            return
        data, scales = self._weights(matrix, form, padded=False)
        attributes = {
            "bits": form.bits, "block_size": form.block_size, "gather_axis": 0, "quantize_axis": 1,
        }  # fmt: skip
        self._replace(node, "GatherBlockQuantized", [data, node.inputs[1], scales], attributes)

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

    def _weights(self, matrix: _Matrix, form: BlockFormat, *, padded: bool) -> "list[ir.Value]":
        """Returns the initializers of integers and scales, made once for all that share them."""
        key = (matrix.value.name, matrix.transposed, form, padded)
        if key not in self._made:
            name = f"{matrix.value.name}_{'columns' if matrix.transposed else 'rows'}"
            parts = _Parts(matrix, form, padded=padded)
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

    def __init__(self, matrix: _Matrix, form: BlockFormat, *, padded: bool) -> None:
        self._matrix = matrix
        self._form = form
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
            blocks = self._quantize()
            self._scales = blocks.scales
            packed = blocks.packed
            return ir.Tensor(packed if self._padded else packed.reshape(rows, -1)[:, :row_bytes])

        return ir.LazyTensor(make, ir.DataType.UINT8, shape=shape)

    def scales(self) -> "ir.TensorProtocol":
        """The scales: (rows, blocks)."""
        import onnx_ir as ir

        rows, inner = self._matrix.shape

        def make() -> ir.Tensor:
            scales = self._quantize().scales if self._scales is None else self._scales
            self._scales = None
            return ir.Tensor(scales)

        shape = ir.Shape((rows, self._form.blocks(inner)))
        return ir.LazyTensor(make, ir.DataType.FLOAT, shape=shape)

    def _quantize(self) -> Blocks:
        weights = self._matrix.tensor.numpy()
        return quantize_blocks(weights.T if self._matrix.transposed else weights, self._form)


def _constant_matrix(node: "ir.Node", index: int, *, transposed: bool) -> _Matrix | None:
    """Returns a node's input when it is a float32 weight of two dimensions."""
    import onnx_ir as ir

    value = node.inputs[index]
    tensor = value.const_value if value is not None and value.is_initializer() else None
    if tensor is None or len(tensor.shape) != 2 or tensor.dtype != ir.DataType.FLOAT:
        return None
    assert value is not None
    return _Matrix(value, transposed)
