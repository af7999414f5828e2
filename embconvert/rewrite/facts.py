"""Infers sizes of a graph's tensors, and contents of small ones, symbolically.

Exporters compute shapes in the graph, node by node. Here this arithmetic is done on symbols
(sizes.Size), so that a rule can check whether a Reshape splits heads, or an Expand is a no-op.

There is one assumption: a Slice whose end is computed from sizes is within the tensor, such as
`positions[:, :seq]` for a text that the model can read.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.contents import CONTENTS, SMALL, as_sizes
from embconvert.rewrite.known import SymbolicShape
from embconvert.rewrite.shapes import SHAPES, unknown
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir


class Facts:
    """Sizes, small contents and types of all values, for one state of a graph."""

    def __init__(self, graph: "ir.Graph", *, infer_sizes: bool = True) -> None:
        self._infer_sizes = infer_sizes
        self._shapes: dict[ir.Value, SymbolicShape | None] = {}
        self._contents: dict[ir.Value, Any] = {}
        self._dtypes: dict[ir.Value, ir.DataType | None] = {}
        self._nonnegative: set[ir.Value] = set()
        for value in (*graph.inputs, *graph.initializers.values()):
            self._shapes[value] = _declared(value)
        for node in graph:
            self.visit(node)

    def shape(self, value: "ir.Value | None") -> SymbolicShape | None:
        """Returns a tensor's sizes, or None if its rank is unknown."""
        if value is None:
            return None
        if value not in self._shapes:
            self._shapes[value] = _declared(value)
        return self._shapes[value]

    def rank(self, value: "ir.Value | None") -> int | None:
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def content(self, value: "ir.Value | None") -> Any:
        """Returns a small tensor's numbers and sizes, as an array of objects, or None."""
        if value is None:
            return None
        if value not in self._contents and value.const_value is not None:
            tensor = value.const_value
            if tensor.size <= SMALL and tensor.dtype.is_integer():
                self._contents[value] = as_sizes(tensor.numpy())
            elif tensor.size <= SMALL and tensor.dtype.name in ("FLOAT", "DOUBLE", "BOOL"):
                self._contents[value] = np.array(tensor.numpy(), dtype=object)
        return self._contents.get(value)

    def dtype(self, value: "ir.Value | None") -> "ir.DataType | None":
        """Returns a tensor's element type, or None."""
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.dtype
        return self._dtypes.get(value, value.dtype)

    def nonnegative(self, value: "ir.Value") -> bool:
        """Whether no element of an index tensor is negative."""
        if value in self._nonnegative:
            return True
        content = self.content(value)
        return content is not None and all(_at_least_zero(item) for item in content.flat)

    def visit(self, node: "ir.Node") -> None:
        """Infers the outputs of a node, from its inputs."""
        kind = node.op_type if node.domain in ("", "ai.onnx", "com.microsoft") else ""
        try:
            shapes = SHAPES.get(kind, unknown)(self, node) if self._infer_sizes else None
        except (ValueError, TypeError, IndexError, KeyError):  # reported elsewhere
            shapes = None
        shapes = shapes if isinstance(shapes, list) else [shapes]
        for index, output in enumerate(node.outputs):
            found = shapes[index] if index < len(shapes) else None
            self._shapes[output] = found if found is not None else _declared(output)
        if kind in CONTENTS and len(node.outputs) == 1:
            try:
                content = CONTENTS[kind](self, node)
            except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
                content = None
            if content is not None and content.size <= SMALL:
                self._contents[node.outputs[0]] = content
        if _yields_nonnegative(self, node):
            self._nonnegative.update(node.outputs)
        for index, output in enumerate(node.outputs):
            is_like_first = index == 0 or kind == "Split"
            dtype = _dtype(self, node, kind) if is_like_first else None
            self._dtypes[output] = output.dtype or dtype


def _declared(value: "ir.Value") -> SymbolicShape | None:
    if value.const_value is not None:
        return tuple(Size.of(int(d)) for d in value.const_value.shape.numpy())
    if value.shape is None:
        return None
    # An axis without a name differs from all others.
    return tuple(
        Size.of(d if isinstance(d, int) else (d.value or f"{value.name}[{axis}]"))
        for axis, d in enumerate(value.shape)
    )


def _at_least_zero(item: Any) -> bool:
    if isinstance(item, Size):
        return item.positive or item.number == 0
    return not isinstance(item, bool) and bool(item >= 0)


def _yields_nonnegative(facts: Facts, node: "ir.Node") -> bool:
    inputs = [value for value in node.inputs if value is not None]
    if node.op_type in ("Shape", "Size"):
        return True
    if node.op_type == "Range":
        start, _, delta = (facts.content(value) for value in node.inputs)
        return all(
            c is not None and c.size == 1 and _at_least_zero(c.flat[0]) for c in (start, delta)
        )
    if node.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Expand", "Cast", "Identity", "Gather",
                        "Transpose", "Slice"):  # fmt: skip
        return facts.nonnegative(inputs[0])
    if node.op_type in ("Add", "Mul", "Concat", "Min", "Max"):
        return all(map(facts.nonnegative, inputs))
    return False


_INT64 = ("Shape", "Size", "NonZero", "ArgMax", "ArgMin")
_INT32 = ("MatMulInteger", "ConvInteger")
_BOOL = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not",
         "IsNaN", "IsInf")  # fmt: skip
# The input that has the type of the output, if it is not the first.
_TYPED_BY = {"Where": 1, "OneHot": 2, "QuantizeLinear": 2, "DequantizeLinear": 1,
             "MatMulIntegerToFloat": 2, "GatherBlockQuantized": 2}  # fmt: skip


def _dtype(facts: Facts, node: "ir.Node", kind: str) -> "ir.DataType | None":
    """Returns the type of a node's first output, usually that of its first input."""
    import onnx_ir as ir

    if kind == "Cast":
        return ir.DataType(node.attributes.get_int("to", 0))
    if kind in _INT64:
        return ir.DataType.INT64
    if kind in _INT32:
        return ir.DataType.INT32
    if kind in _BOOL:
        return ir.DataType.BOOL
    if kind == "DynamicQuantizeLinear" or (kind == "QuantizeLinear" and len(node.inputs) < 3):
        return ir.DataType.UINT8
    value = node.attributes.get("value")
    if value is not None and value.type == ir.AttributeType.TENSOR:
        return value.as_tensor().dtype
    if kind == "ConstantOfShape":
        return ir.DataType.FLOAT
    if not kind or not node.inputs:
        return None
    return facts.dtype(node.inputs[_TYPED_BY.get(kind, 0)])
