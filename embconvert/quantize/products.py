"""Finds products with a constant matrix in a graph, and lookups in one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embconvert.graph.streams import row_reader
from embconvert.quantize.blocks import FloatArray, Rows

if TYPE_CHECKING:
    import onnx_ir as ir

# Quantizing smaller tables, such as token types, saves too little.
_SMALLEST_TABLE_BYTES = 1 << 14


@dataclass(frozen=True)
class Matrix:
    """A constant float32 matrix (or its transpose), whose last axis is summed over."""

    value: "ir.Value"
    transposed: bool

    @property
    def name(self) -> str:
        """Unique in the graph."""
        return f"{self.value.name}_{'columns' if self.transposed else 'rows'}"

    @property
    def tensor(self) -> "ir.TensorProtocol":
        assert self.value.const_value is not None
        return self.value.const_value

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, inner)."""
        first, second = self.tensor.shape.numpy()
        return (second, first) if self.transposed else (first, second)

    def rows(self) -> FloatArray:
        """Reads the matrix, (rows, inner) float32."""
        weights = self._read()
        return weights.T if self.transposed else weights

    def stored(self) -> Rows:
        """Returns the graph's tensor, (inner, rows) if it is transposed.

        Rows are read lazily, if possible.
        """
        read = row_reader(self.tensor)
        return self._read() if read is None else _ReadRows(read, self.tensor.shape.numpy())

    def _read(self) -> FloatArray:
        weights: FloatArray = np.asarray(self.tensor.numpy(), np.float32)
        return weights

    def columns(self, which: Sequence[int]) -> FloatArray:
        """Reads some columns, (columns, rows) float32."""
        if not self.transposed:
            return np.ascontiguousarray(self.rows()[:, list(which)].T)
        stored = self.stored()
        return np.concatenate([stored[slice(n, n + 1)] for n in which])


@dataclass(frozen=True)
class _ReadRows:
    """Lazily read rows; see Rows."""

    read: Callable[[slice], FloatArray]
    shape: tuple[int, ...]

    def __getitem__(self, which: slice) -> FloatArray:
        return self.read(which)


@dataclass(frozen=True)
class Product:
    """A node that multiplies an activation by a constant matrix, and may add a bias."""

    node: "ir.Node"
    matrix: Matrix
    bias: "ir.Value | None"

    @property
    def activation(self) -> str:
        """Name of the activation, (..., inner) float32."""
        value = self.node.inputs[0]
        assert value is not None
        return value.name or ""


@dataclass(frozen=True)
class Lookup:
    """A Gather of rows of a constant matrix by token ids, or else by positions or types."""

    node: "ir.Node"
    matrix: Matrix
    of_tokens: bool


def find_products(model: "ir.Model") -> Iterator[Product]:
    """Yields the products of a graph: MatMul and plain Gemm with a constant right operand."""
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("MatMul", "Gemm"):
            continue
        number = node.attributes.get_int
        matrix = _constant_matrix(node, 1, transposed=not number("transB", 0))
        scaled = any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
        if matrix is not None and not scaled and not number("transA", 0):
            yield Product(node, matrix, node.inputs[2] if len(node.inputs) > 2 else None)


def sharing(products: Sequence[Product]) -> list[tuple[list[str], list[Matrix]]]:
    """Returns groups of activations and matrices that are tied to each other.

    An activation may have several matrices (queries, keys and values), and if layers share weights,
    a matrix has several activations.
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


def find_lookups(model: "ir.Model") -> Iterator[Lookup]:
    """Yields the lookups in tables that are large enough to quantize."""
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type != "Gather":
            continue
        matrix = _constant_matrix(node, 0, transposed=False)
        if matrix is None or node.attributes.get_int("axis", 0) != 0:
            continue
        if matrix.tensor.nbytes >= _SMALLEST_TABLE_BYTES:
            yield Lookup(node, matrix, _reads_tokens(node.inputs[1]))


def _constant_matrix(node: "ir.Node", index: int, *, transposed: bool) -> Matrix | None:
    """Returns a node's input if it is a two-dimensional float32 weight."""
    import onnx_ir as ir

    value = node.inputs[index]
    tensor = value.const_value if value is not None and value.is_initializer() else None
    if tensor is None or len(tensor.shape) != 2 or tensor.dtype != ir.DataType.FLOAT:
        return None
    assert value is not None
    return Matrix(value, transposed)


def _reads_tokens(value: "ir.Value | None") -> bool:
    """Whether indices are the graph's token ids, possibly cast or reshaped."""
    while value is not None:
        node = value.producer()
        if node is None:
            return bool(value.name == "input_ids")
        if node.op_type not in ("Cast", "Reshape", "Identity", "Squeeze", "Unsqueeze"):
            return False
        value = node.inputs[0]
    return False
