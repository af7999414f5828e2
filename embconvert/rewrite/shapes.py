"""Infers the sizes of each operator's outputs from those of its inputs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from embconvert.rewrite.contents import FAR, constant_content, shape_content
from embconvert.rewrite.known import Known, SymbolicShape
from embconvert.rewrite.shapes_by_attribute import (
    block_lookup,
    block_product,
    convolution,
    gemm,
    non_zero,
    pad,
    pooling,
    top_k,
)
from embconvert.rewrite.sizes import Size, product

if TYPE_CHECKING:
    import onnx_ir as ir


_Result = SymbolicShape | None | list[SymbolicShape | None]


def broadcast(*shapes: SymbolicShape | None) -> SymbolicShape | None:
    """Returns the broadcast sizes of tensors, or None if unknown."""
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes):
        return None
    result = []
    for axis in range(-max(map(len, known)), 0):
        size = Size.of(1)
        for shape in known:
            here = shape[axis] if -axis <= len(shape) else Size.of(1)
            # Of two different names, one would have to be 1 at run time: keep the first.
            if here.number != 1 and (size.number == 1 or here.number is not None):
                size = here
        result.append(size)
    return tuple(result)


def unknown(facts: "Known", node: "ir.Node") -> _Result:
    """Returns None, for operators without a rule."""
    del facts, node
    return None


def _first(facts: "Known", node: "ir.Node") -> _Result:
    return facts.shape(node.inputs[0])


def _broadcast_all(facts: "Known", node: "ir.Node") -> _Result:
    return broadcast(*(facts.shape(value) for value in node.inputs))


def _matmul(facts: "Known", node: "ir.Node") -> _Result:
    a, b = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    batch = broadcast(a[:-2], b[:-2]) if a[:-2] and b[:-2] else a[:-2] or b[:-2]
    return None if batch is None else (*batch, a[-2], b[-1])


def _shape_of_shape(facts: "Known", node: "ir.Node") -> _Result:
    content = shape_content(facts, node)
    return None if content is None else (Size.of(content.size),)


def _from_content(index: int) -> Callable[["Known", "ir.Node"], _Result]:
    def shape(facts: "Known", node: "ir.Node") -> _Result:
        content = facts.content(node.inputs[index])
        if content is not None:
            return tuple(content.tolist())
        rank = facts.shape(node.inputs[index])
        return None if rank is None else _all_unknown(node, rank[0].number)

    return shape


def _all_unknown(node: "ir.Node", rank: int | None) -> SymbolicShape | None:
    """Returns a name for each axis of a node's output."""
    if rank is None:
        return None
    return tuple(Size.of(f"{node.outputs[0].name}[{axis}]") for axis in range(rank))


def _reshape(facts: "Known", node: "ir.Node") -> _Result:
    source, target = facts.shape(node.inputs[0]), facts.content(node.inputs[1])
    if target is None:
        length = facts.shape(node.inputs[1])
        return None if length is None else _all_unknown(node, length[0].number)
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


def _expand(facts: "Known", node: "ir.Node") -> _Result:
    target = facts.content(node.inputs[1])
    return (
        None if target is None else broadcast(tuple(target.tolist()), facts.shape(node.inputs[0]))
    )


def axes_of(facts: "Known", node: "ir.Node") -> list[int] | None:
    """Returns the axes of a node, given by an input or, in older opsets, by an attribute."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        content = facts.content(node.inputs[1])
        numbers = None if content is None else [item.number for item in content.flat]
        return None if numbers is None or None in numbers else numbers
    axes = node.attributes.get("axes")
    return None if axes is None else list(axes.as_ints())


def _unsqueeze(facts: "Known", node: "ir.Node") -> _Result:
    shape, axes = facts.shape(node.inputs[0]), axes_of(facts, node)
    if shape is None or axes is None:
        return None
    rank = len(shape) + len(axes)
    inserted = {axis % rank for axis in axes}
    rest = iter(shape)
    return tuple(Size.of(1) if axis in inserted else next(rest) for axis in range(rank))


def _squeeze(facts: "Known", node: "ir.Node") -> _Result:
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


def _transpose(facts: "Known", node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    return tuple(shape[axis] for axis in permutation(node, len(shape)))


def permutation(node: "ir.Node", rank: int) -> tuple[int, ...]:
    """Returns a Transpose's permutation; the default is reversal."""
    return tuple(node.attributes.get_ints("perm", tuple(range(rank))[::-1]))


def _concat(facts: "Known", node: "ir.Node") -> _Result:
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


def _gather(facts: "Known", node: "ir.Node") -> _Result:
    data, indices = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    if data is None or indices is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(data)
    return (*data[:axis], *indices, *data[axis + 1 :])


def _second(facts: "Known", node: "ir.Node") -> _Result:
    return facts.shape(node.inputs[1])


def _reduce(facts: "Known", node: "ir.Node") -> _Result:
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


def _range(facts: "Known", node: "ir.Node") -> _Result:
    contents = [facts.content(value) for value in node.inputs]
    if any(content is None for content in contents):
        return (Size.of(f"{node.outputs[0].name}[0]"),)
    start, limit, delta = (content.flat[0] for content in contents)
    return (
        ((limit - start) // delta,)
        if delta.number == 1
        else (Size.of(f"{node.outputs[0].name}[0]"),)
    )


def _slice(facts: "Known", node: "ir.Node") -> _Result:
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
    """Returns the absolute start or end of a slice."""
    number = bound.number
    if number is None:
        return bound if bound.positive else size + bound if (-bound).positive else None
    if number < 0:
        return size + number if size.number is None or size.number >= -number else Size.of(0)
    if number >= FAR:
        return size
    return bound if size.number is None else Size.of(min(number, size.number))


def _split(facts: "Known", node: "ir.Node") -> _Result:
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


def _flatten(facts: "Known", node: "ir.Node") -> _Result:
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return (product(shape[:axis]), product(shape[axis:]))


def _tile(facts: "Known", node: "ir.Node") -> _Result:
    shape, repeats = facts.shape(node.inputs[0]), facts.content(node.inputs[1])
    if shape is None or repeats is None:
        return None
    return tuple(size * times for size, times in zip(shape, repeats.tolist(), strict=True))


def _constant_shape(facts: "Known", node: "ir.Node") -> _Result:
    attribute = node.attributes.get("value")
    if attribute is not None:
        return tuple(Size.of(int(d)) for d in attribute.as_tensor().shape.numpy())
    content = constant_content(facts, node)
    return None if content is None else tuple(Size.of(d) for d in content.shape)


def _attention(facts: "Known", node: "ir.Node") -> _Result:
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
    "Softplus", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "HardSwish", "EyeLike",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
)  # fmt: skip
SHAPES: dict[str, Callable[["Known", "ir.Node"], _Result]] = {
    **dict.fromkeys(_ELEMENTWISE, _broadcast_all),
    **dict.fromkeys(_LIKE_FIRST, _first),
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceL1"),
        _reduce,
    ),
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), _attention),
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulIntegerToFloat"), _matmul),
    "MatMulNBits": block_product, "GatherBlockQuantized": block_lookup,
    "Shape": _shape_of_shape, "ConstantOfShape": _from_content(0),
    "Reshape": _reshape, "Expand": _expand, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Transpose": _transpose, "Concat": _concat, "Gather": _gather, "GatherElements": _second,
    "Range": _range, "Slice": _slice, "Split": _split, "Flatten": _flatten, "Tile": _tile,
    "Constant": _constant_shape, "Conv": convolution, "MaxPool": pooling, "AveragePool": pooling,
    "Gemm": gemm, "Pad": pad, "TopK": top_k, "NonZero": non_zero,
}  # fmt: skip
