"""Infers sizes that a node's attributes or an input's values decide.

An axis of which only the existence is known gets a name of its own; that is enough to know the
rank, and the axes that stay.
"""

from typing import TYPE_CHECKING

from embconvert.rewrite.known import Known, SymbolicShape
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir


def _named(node: "ir.Node", axis: int, output: int = 0) -> Size:
    return Size.of(f"{node.outputs[output].name}[{axis}]")


def convolution(facts: Known, node: "ir.Node") -> SymbolicShape | None:
    """Infers Conv's output, (batch, channels, positions, ...)."""
    shape, kernel = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    if shape is None or kernel is None:
        return None
    return (shape[0], kernel[0], *_windows(node, shape[2:], kernel[2:]))


def pooling(facts: Known, node: "ir.Node") -> SymbolicShape | None:
    """Infers MaxPool's and AveragePool's output, with the same channels as the input."""
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    kernel = tuple(Size.of(size) for size in node.attributes["kernel_shape"].as_ints())
    return (*shape[:2], *_windows(node, shape[2:], kernel))


def _windows(node: "ir.Node", sizes: SymbolicShape, kernel: SymbolicShape) -> SymbolicShape:
    """Returns how many windows of a kernel there are along each axis."""
    attributes, count = node.attributes, len(sizes)
    pads = attributes.get_ints("pads", (0,) * 2 * count)
    strides = attributes.get_ints("strides", (1,) * count)
    steps = attributes.get_ints("dilations", (1,) * count)
    padded = attributes.get_string("auto_pad", "NOTSET")
    found = []
    for axis, size in enumerate(sizes):
        width = kernel[axis].number
        if width is None or strides[axis] != 1 or padded != "NOTSET":
            found.append(_named(node, axis + 2))
            continue
        found.append(size + pads[axis] + pads[axis + count] - steps[axis] * (width - 1))
    return tuple(found)


def gemm(facts: Known, node: "ir.Node") -> SymbolicShape | None:
    shapes = [facts.shape(value) for value in node.inputs[:2]]
    if shapes[0] is None or shapes[1] is None:
        return None
    rows = shapes[0][node.attributes.get_int("transA", 0)]
    return (rows, shapes[1][1 - node.attributes.get_int("transB", 0)])


def pad(facts: Known, node: "ir.Node") -> SymbolicShape | None:
    """Infers Pad's output; before opset 18 it pads all axes."""
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    pads = facts.content(node.inputs[1]) if len(node.inputs) < 4 else None
    if pads is None or pads.size != 2 * len(shape):
        return tuple(_named(node, axis) for axis in range(len(shape)))
    before, after = pads[: len(shape)], pads[len(shape) :]
    return tuple(size + before[axis] + after[axis] for axis, size in enumerate(shape))


def top_k(facts: Known, node: "ir.Node") -> list[SymbolicShape | None]:
    shape, content = facts.shape(node.inputs[0]), facts.content(node.inputs[1])
    if shape is None:
        return [None, None]
    axis = node.attributes.get_int("axis", -1) % len(shape)
    size = _named(node, axis) if content is None else content.flat[0]
    return [(*shape[:axis], size, *shape[axis + 1 :])] * 2


def non_zero(facts: Known, node: "ir.Node") -> SymbolicShape | None:
    """Infers NonZero's output: a row for each axis of the input, a column for each element."""
    shape = facts.shape(node.inputs[0])
    return None if shape is None else (Size.of(len(shape)), _named(node, 1))


def block_product(facts: "Known", node: "ir.Node") -> "SymbolicShape | None":
    """Returns the shape of a MatMulNBits."""
    shape = facts.shape(node.inputs[0])
    return None if not shape else (*shape[:-1], Size.of(node.attributes.get_int("N", 0)))


def block_lookup(facts: "Known", node: "ir.Node") -> "SymbolicShape | None":
    """Returns the shape of a GatherBlockQuantized that looks up rows of packed bytes."""
    table, indices = facts.shape(node.inputs[0]), facts.shape(node.inputs[1])
    width = table[-1].number if table else None
    if indices is None or width is None or node.attributes.get_int("gather_axis", 0):
        return None
    return (*indices, Size.of(width * 8 // node.attributes.get_int("bits", 4)))
