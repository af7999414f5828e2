"""What is known of a graph's tensors before it runs: their sizes, and what small ones hold.

Exporters compute shapes in the graph, node by node. Here that arithmetic is done on symbols
(sizes.Size), so that a rule can ask whether a Reshape splits heads, or an Expand does nothing.

One assumption is made: a Slice whose end was computed from sizes is within the tensor, as
`positions[:, :seq]` is for a text that the model can read.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.sizes import Size, product

if TYPE_CHECKING:
    import onnx_ir as ir

Shape = tuple[Size, ...]

#: Elements of the largest tensor whose content is followed.
_SMALL = 64
# What Slice's ends stand for "to the end" with.
_FAR = 2**31 - 1


class Facts:
    """Sizes and small contents of all values of a graph; of one state of the graph only."""

    def __init__(self, graph: "ir.Graph", *, infer_sizes: bool = True) -> None:
        self._infer_sizes = infer_sizes
        self._shapes: dict[ir.Value, Shape | None] = {}
        self._contents: dict[ir.Value, Any] = {}
        self._dtypes: dict[ir.Value, ir.DataType | None] = {}
        self._nonnegative: set[ir.Value] = set()
        for value in (*graph.inputs, *graph.initializers.values()):
            self._shapes[value] = _declared(value)
        for node in graph:
            self.visit(node)

    def shape(self, value: "ir.Value | None") -> Shape | None:
        """Returns a tensor's sizes, or None when not even its rank is known."""
        if value is None:
            return None
        if value not in self._shapes:
            self._shapes[value] = _declared(value)
        return self._shapes[value]

    def rank(self, value: "ir.Value | None") -> int | None:
        """Returns a tensor's number of axes, or None."""
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def content(self, value: "ir.Value | None") -> Any:
        """Returns a small tensor's numbers, some of them sizes: an array of objects, or None."""
        if value is None:
            return None
        if value not in self._contents and value.const_value is not None:
            tensor = value.const_value
            if tensor.size <= _SMALL and tensor.dtype.is_integer():
                self._contents[value] = _sizes(tensor.numpy())
            elif tensor.size <= _SMALL and tensor.dtype.name in ("FLOAT", "DOUBLE", "BOOL"):
                self._contents[value] = np.array(tensor.numpy(), dtype=object)
        return self._contents.get(value)

    def dtype(self, value: "ir.Value | None") -> "ir.DataType | None":
        """Returns a tensor's element type, or None when unknown."""
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.dtype
        return self._dtypes.get(value, value.dtype)

    def nonnegative(self, value: "ir.Value") -> bool:
        """Whether no element of a tensor of indices is below zero."""
        if value in self._nonnegative:
            return True
        content = self.content(value)
        return content is not None and all(_at_least_zero(item) for item in content.flat)

    def visit(self, node: "ir.Node") -> None:
        """Learns of a node; its inputs must be known."""
        kind = node.op_type if node.domain in ("", "ai.onnx", "com.microsoft") else ""
        try:
            shapes = _SHAPES.get(kind, _unknown)(self, node) if self._infer_sizes else None
        except (ValueError, TypeError, IndexError, KeyError):  # a malformed node; others tell
            shapes = None
        shapes = shapes if isinstance(shapes, list) else [shapes]
        for index, output in enumerate(node.outputs):
            found = shapes[index] if index < len(shapes) else None
            self._shapes[output] = found if found is not None else _declared(output)
        if kind in _CONTENTS and len(node.outputs) == 1:
            try:
                content = _CONTENTS[kind](self, node)
            except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
                content = None
            if content is not None and content.size <= _SMALL:
                self._contents[node.outputs[0]] = content
        if _yields_nonnegative(self, node):
            self._nonnegative.update(node.outputs)
        for output in node.outputs:
            self._dtypes[output] = output.dtype or _dtype(self, node, kind)


def _declared(value: "ir.Value") -> Shape | None:
    if value.const_value is not None:
        return tuple(Size.of(int(d)) for d in value.const_value.shape.numpy())
    if value.shape is None:
        return None
    # An axis without a name is unlike any other.
    return tuple(
        Size.of(d if isinstance(d, int) else (d.value or f"{value.name}[{axis}]"))
        for axis, d in enumerate(value.shape)
    )


def _sizes(array: Any) -> Any:
    sizes = np.empty(array.shape, dtype=object)
    for place, number in np.ndenumerate(array):
        sizes[place] = Size.of(int(number))
    return sizes


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
_BOOL = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not",
         "IsNaN", "IsInf")  # fmt: skip


def _dtype(facts: Facts, node: "ir.Node", kind: str) -> "ir.DataType | None":
    """Returns the type of a node's first output; nearly always that of its first input."""
    import onnx_ir as ir

    if kind == "Cast":
        return ir.DataType(node.attributes.get_int("to", 0))
    if kind in _INT64:
        return ir.DataType.INT64
    if kind in _BOOL:
        return ir.DataType.BOOL
    value = node.attributes.get("value")
    if value is not None and value.type == ir.AttributeType.TENSOR:
        return value.as_tensor().dtype
    if kind == "ConstantOfShape":
        return ir.DataType.FLOAT
    if not kind or not node.inputs:
        return None
    return facts.dtype(node.inputs[{"Where": 1, "OneHot": 2}.get(kind, 0)])


# --- sizes ---------------------------------------------------------------------------------------

_Result = Shape | None | list[Shape | None]


def broadcast(*shapes: Shape | None) -> Shape | None:
    """Returns the sizes of tensors combined element by element, or None when unknown."""
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes):
        return None
    result = []
    for axis in range(-max(map(len, known)), 0):
        size = Size.of(1)
        for shape in known:
            here = shape[axis] if -axis <= len(shape) else Size.of(1)
            # Of two different names one would have to be 1 at run time: the first is kept.
            if here.number != 1 and (size.number == 1 or here.number is not None):
                size = here
        result.append(size)
    return tuple(result)


def _unknown(facts: Facts, node: "ir.Node") -> _Result:
    del facts, node
    return None


def _first(facts: Facts, node: "ir.Node") -> _Result:
    return facts.shape(node.inputs[0])


def _broadcast_all(facts: Facts, node: "ir.Node") -> _Result:
    return broadcast(*(facts.shape(value) for value in node.inputs))


def _matmul(facts: Facts, node: "ir.Node") -> _Result:
    a, b = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    batch = broadcast(a[:-2], b[:-2]) if a[:-2] and b[:-2] else a[:-2] or b[:-2]
    return None if batch is None else (*batch, a[-2], b[-1])


def _shape_of_shape(facts: Facts, node: "ir.Node") -> _Result:
    content = _shape_content(facts, node)
    return None if content is None else (Size.of(content.size),)


def _shape_content(facts: Facts, node: "ir.Node") -> Any:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", len(shape))
    content = np.empty(len(shape), dtype=object)
    content[:] = shape
    return content[start:end]


def _from_content(index: int) -> Callable[[Facts, "ir.Node"], _Result]:
    def shape(facts: Facts, node: "ir.Node") -> _Result:
        content = facts.content(node.inputs[index])
        return None if content is None else tuple(content.tolist())

    return shape


def _reshape(facts: Facts, node: "ir.Node") -> _Result:
    source, target = facts.shape(node.inputs[0]), facts.content(node.inputs[1])
    if target is None:
        length = facts.shape(node.inputs[1])
        if length is None or length[0].number is None:
            return None
        return tuple(Size.of(f"{node.outputs[0].name}[{i}]") for i in range(length[0].number))
    sizes = list(target)
    for axis, size in enumerate(sizes):
        if size.number == 0 and not node.attributes.get_int("allowzero", 0):
            if source is None or axis >= len(source):
                return None
            sizes[axis] = source[axis]
    if any(size.number == -1 for size in sizes):
        axis = next(i for i, size in enumerate(sizes) if size.number == -1)
        rest = product(s for i, s in enumerate(sizes) if i != axis)
        whole = None if source is None else product(source).divided_by(rest)
        sizes[axis] = whole if whole is not None else Size.of(f"{node.outputs[0].name}[{axis}]")
    return tuple(sizes)


def _expand(facts: Facts, node: "ir.Node") -> _Result:
    target = facts.content(node.inputs[1])
    return (
        None if target is None else broadcast(tuple(target.tolist()), facts.shape(node.inputs[0]))
    )


def axes_of(facts: Facts, node: "ir.Node", index: int = 1) -> list[int] | None:
    """Returns the axes that a node names by input or, in older opsets, by attribute."""
    if len(node.inputs) > index and node.inputs[index] is not None:
        content = facts.content(node.inputs[index])
        numbers = None if content is None else [item.number for item in content.flat]
        return None if numbers is None or None in numbers else numbers
    axes = node.attributes.get("axes")
    return None if axes is None else list(axes.as_ints())


def _unsqueeze(facts: Facts, node: "ir.Node") -> _Result:
    shape, axes = facts.shape(node.inputs[0]), axes_of(facts, node)
    if shape is None or axes is None:
        return None
    rank = len(shape) + len(axes)
    inserted = {axis % rank for axis in axes}
    rest = iter(shape)
    return tuple(Size.of(1) if axis in inserted else next(rest) for axis in range(rank))


def _squeeze(facts: Facts, node: "ir.Node") -> _Result:
    shape, axes = facts.shape(node.inputs[0]), axes_of(facts, node)
    if shape is None:
        return None
    if axes is None:
        named = len(node.inputs) > 1 or "axes" in node.attributes
        if named or any(size.number is None for size in shape):
            return None
        axes = [axis for axis, size in enumerate(shape) if size.number == 1]
    gone = {axis % len(shape) for axis in axes}
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _transpose(facts: Facts, node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    return tuple(shape[axis] for axis in permutation(node, len(shape)))


def permutation(node: "ir.Node", rank: int) -> tuple[int, ...]:
    """Returns a Transpose's permutation, reversal by default."""
    return tuple(node.attributes.get_ints("perm", tuple(range(rank))[::-1]))


def _concat(facts: Facts, node: "ir.Node") -> _Result:
    shapes = [facts.shape(value) for value in node.inputs]
    known = next((shape for shape in shapes if shape is not None), None)
    if known is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(known)
    if any(shape is None for shape in shapes):
        total = Size.of(f"{node.outputs[0].name}[{axis}]")
    else:
        total = sum((shape[axis] for shape in shapes if shape is not None), Size.of(0))
    return (*known[:axis], total, *known[axis + 1 :])


def _gather(facts: Facts, node: "ir.Node") -> _Result:
    data, indices = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    if data is None or indices is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(data)
    return (*data[:axis], *indices, *data[axis + 1 :])


def _second(facts: Facts, node: "ir.Node") -> _Result:
    return facts.shape(node.inputs[1])


def _reduce(facts: Facts, node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    axes = axes_of(facts, node)
    if axes is None:
        axes = list(range(len(shape)))
    gone = {axis % len(shape) for axis in axes}
    if node.attributes.get_int("keepdims", 1):
        return tuple(Size.of(1) if axis in gone else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _range(facts: Facts, node: "ir.Node") -> _Result:
    contents = [facts.content(value) for value in node.inputs]
    if any(content is None for content in contents):
        return (Size.of(f"{node.outputs[0].name}[0]"),)
    start, limit, delta = (content.flat[0] for content in contents)
    return (
        ((limit - start) // delta,)
        if delta.number == 1
        else (Size.of(f"{node.outputs[0].name}[0]"),)
    )


def _slice(facts: Facts, node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    bounds = [facts.content(value) for value in node.inputs[1:]]
    if len(bounds) < 2 or any(content is None for content in bounds[2:]):
        return tuple(Size.of(f"{node.outputs[0].name}[{i}]") for i in range(len(shape)))
    count = next((c.size for c in bounds if c is not None), None)
    axes = [a.number for a in bounds[2]] if len(bounds) > 2 else list(range(count or 0))
    steps = [s.number for s in bounds[3]] if len(bounds) > 3 else [1] * len(axes)
    sizes = list(shape)
    for place, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        size = sizes[axis]
        sizes[axis] = Size.of(f"{node.outputs[0].name}[{axis}]")
        if bounds[0] is None or bounds[1] is None or step != 1:
            continue
        start, end = (_bound(bounds[i][place], size) for i in (0, 1))
        if start is not None and end is not None:
            sizes[axis] = end - start
    return tuple(sizes)


def _bound(bound: Size, size: Size) -> Size | None:
    """Returns where a slice's start or end lies in an axis."""
    number = bound.number
    if number is None:
        return bound if bound.positive else size + bound if (-bound).positive else None
    if number < 0:
        return size + number if size.number is None or size.number >= -number else Size.of(0)
    if number >= _FAR:
        return size
    return bound if size.number is None else Size.of(min(number, size.number))


def _split(facts: Facts, node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(shape)
    parts: Sequence[Size | None] = [None] * len(node.outputs)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        content = facts.content(node.inputs[1])
        parts = parts if content is None else content.tolist()
    else:
        parts = [shape[axis].divided_by(Size.of(len(node.outputs)))] * len(node.outputs)
    return [
        (*shape[:axis], part or Size.of(f"{output.name}[{axis}]"), *shape[axis + 1 :])
        for part, output in zip(parts, node.outputs, strict=True)
    ]


def _flatten(facts: Facts, node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return (product(shape[:axis]), product(shape[axis:]))


def _tile(facts: Facts, node: "ir.Node") -> _Result:
    shape, repeats = facts.shape(node.inputs[0]), facts.content(node.inputs[1])
    if shape is None or repeats is None:
        return None
    return tuple(size * times for size, times in zip(shape, repeats.tolist(), strict=True))


def _constant_content(facts: Facts, node: "ir.Node") -> Any:
    del facts
    for name, attribute in node.attributes.items():
        if name == "value":
            array = attribute.as_tensor().numpy()
        elif name in ("value_int", "value_ints"):
            array = np.asarray(attribute.value, np.int64)
        elif name in ("value_float", "value_floats"):
            array = np.asarray(attribute.value, np.float32)
        else:
            return None
        if array.size > _SMALL:
            return None
        return _sizes(array) if array.dtype.kind in "iu" else np.array(array, dtype=object)
    return None


def _constant_shape(facts: Facts, node: "ir.Node") -> _Result:
    attribute = node.attributes.get("value")
    if attribute is not None:
        return tuple(Size.of(int(d)) for d in attribute.as_tensor().shape.numpy())
    content = _constant_content(facts, node)
    return None if content is None else tuple(Size.of(d) for d in content.shape)


def _attention(facts: Facts, node: "ir.Node") -> _Result:
    query, value = facts.shape(node.inputs[0]), facts.shape(node.inputs[2])
    if query is None:
        return None
    if node.op_type == "MultiHeadAttention" and value is not None:
        width = value[2] if len(value) == 3 else value[1] * value[3]
        return (*query[:2], width)
    return query


_ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mod", "And", "Or", "Xor", "Equal",
    "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Where", "BitShift", "Mean",
)  # fmt: skip
_LIKE_FIRST = (
    "Softmax", "LayerNormalization", "Cast", "Identity", "Erf", "Tanh", "Sigmoid", "Relu", "Sqrt",
    "Neg", "Abs", "Log", "Exp", "Cos", "Sin", "Not", "Clip", "Ceil", "Floor", "Sign", "Reciprocal",
    "Dropout", "CumSum", "Trilu", "ScatterND", "ScatterElements", "Gelu", "BiasGelu", "FastGelu",
    "QuickGelu", "SimplifiedLayerNormalization", "SkipLayerNormalization", "RotaryEmbedding",
    "RMSNormalization", "Round", "IsNaN", "IsInf", "LogSoftmax", "SkipSimplifiedLayerNormalization",
)  # fmt: skip
_SHAPES: dict[str, Callable[[Facts, "ir.Node"], _Result]] = {
    **dict.fromkeys(_ELEMENTWISE, _broadcast_all),
    **dict.fromkeys(_LIKE_FIRST, _first),
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceL1"),
        _reduce,
    ),
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), _attention),
    "MatMul": _matmul, "Shape": _shape_of_shape, "ConstantOfShape": _from_content(0),
    "Reshape": _reshape, "Expand": _expand, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Transpose": _transpose, "Concat": _concat, "Gather": _gather, "GatherElements": _second,
    "Range": _range, "Slice": _slice, "Split": _split, "Flatten": _flatten, "Tile": _tile,
    "Constant": _constant_shape,
}  # fmt: skip


# --- contents ------------------------------------------------------------------------------------


def _contents_of(facts: Facts, node: "ir.Node", *indices: int) -> list[Any]:
    contents = [facts.content(node.inputs[i]) for i in indices]
    if any(content is None for content in contents):
        raise ValueError("not known")
    return contents


def _numbers(array: Any) -> Any:
    """Returns sizes as int64, for use as indices.

    Raises:
        ValueError: One depends on an axis.
    """
    numbers = [item.number if isinstance(item, Size) else None for item in array.flat]
    if None in numbers:
        raise ValueError("depends on an axis")
    return np.array(numbers, np.int64).reshape(array.shape)


def _cast_content(facts: Facts, node: "ir.Node") -> Any:
    import onnx_ir as ir

    (content,) = _contents_of(facts, node, 0)
    kind = ir.DataType(node.attributes.get_int("to", 0))
    if kind.is_integer():
        if all(isinstance(item, Size) for item in content.flat):
            return content
        return _sizes(np.array(content.tolist()).astype(kind.numpy()))
    numbers = _plain(content)
    return (
        np.array(numbers.astype(kind.numpy()), dtype=object) if kind.is_floating_point() else None
    )


def _plain(content: Any) -> Any:
    """Returns content as plain numbers.

    Raises:
        ValueError: One depends on an axis.
    """
    if all(isinstance(item, Size) for item in content.flat):
        return _numbers(content)
    return np.array(content.tolist())


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[[Facts, "ir.Node"], Any]:
    def content(facts: Facts, node: "ir.Node") -> Any:
        a, b = _contents_of(facts, node, 0, 1)
        if not all(isinstance(item, Size) for item in (*a.flat, *b.flat)):
            raise ValueError("not of sizes")
        a, b = np.broadcast_arrays(a, b)
        result = np.empty(a.shape, dtype=object)
        for place in np.ndindex(a.shape):
            result[place] = operation(a[place], b[place])
        return result

    return content


def _equal(a: Size, b: Size) -> bool:
    difference = a - b
    if difference.number is not None:
        return difference.number == 0
    if difference.positive or (-difference).positive:
        return False
    raise ValueError("not known")


def _where_content(facts: Facts, node: "ir.Node") -> Any:
    condition, yes, no = _contents_of(facts, node, 0, 1, 2)
    condition, yes, no = np.broadcast_arrays(condition, yes, no)
    result = np.empty(condition.shape, dtype=object)
    for place in np.ndindex(condition.shape):
        result[place] = yes[place] if condition[place] else no[place]
    return result


def _gather_content(facts: Facts, node: "ir.Node") -> Any:
    data, indices = _contents_of(facts, node, 0, 1)
    return np.asarray(
        np.take(data, _numbers(indices), axis=node.attributes.get_int("axis", 0)), dtype=object
    )


def _slice_content(facts: Facts, node: "ir.Node") -> Any:
    data, starts, ends = _contents_of(facts, node, 0, 1, 2)
    if data.ndim != 1:
        raise ValueError("not a vector")
    step = 1
    if len(node.inputs) > 4:
        (steps,) = _contents_of(facts, node, 4)
        step = int(_numbers(steps)[0])
    start, end = int(_numbers(starts)[0]), int(_numbers(ends)[0])
    return data[start : None if end <= -_FAR else end : step]


def _concat_content(facts: Facts, node: "ir.Node") -> Any:
    return np.concatenate(
        _contents_of(facts, node, *range(len(node.inputs))),
        axis=node.attributes.get_int("axis", 0),
    )


def _reshaped_content(facts: Facts, node: "ir.Node") -> Any:
    (content,) = _contents_of(facts, node, 0)
    shape = facts.shape(node.outputs[0])
    if shape is None or any(size.number is None for size in shape):
        raise ValueError("not known")
    return content.reshape([size.number for size in shape])


def _filled_content(facts: Facts, node: "ir.Node") -> Any:
    (shape,) = _contents_of(facts, node, 0)
    sizes = _numbers(shape)
    if np.prod(sizes) > _SMALL:
        return None
    attribute = node.attributes.get("value")
    fill: Any = 0.0 if attribute is None else attribute.as_tensor().numpy().item()
    integer = attribute is not None and attribute.as_tensor().dtype.is_integer()
    result = np.empty(sizes, dtype=object)
    result.fill(Size.of(fill) if integer else fill)
    return result


def _same_content(facts: Facts, node: "ir.Node") -> Any:
    return _contents_of(facts, node, 0)[0]


_CONTENTS: dict[str, Callable[[Facts, "ir.Node"], Any]] = {
    **dict.fromkeys(("Unsqueeze", "Squeeze", "Reshape"), _reshaped_content),
    "Shape": _shape_content, "Constant": _constant_content, "Identity": _same_content,
    "Cast": _cast_content, "Gather": _gather_content, "Slice": _slice_content,
    "Concat": _concat_content, "ConstantOfShape": _filled_content, "Where": _where_content,
    "Add": _binary(lambda a, b: a + b), "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b), "Div": _binary(lambda a, b: a // b),
    "Equal": _binary(_equal),
}  # fmt: skip
