"""Splits a product whose result is split into one product for each piece.

Needs: `MatMul` with a weight, whose output is split completely by Split or Slices along the last
axis, or by an equivalent Reshape and Split: queries, keys and values, or a gate and its operand, in
one matrix. Guarantees: The same numbers; the weights are split when they are written.

Copying the pieces costs more than a single large product saves: a tenth of the projection of
queries, keys and values (benchmarks/README.md).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor, only_user

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class _Columns:
    """A piece of a product: columns [start, end), and its sizes if they differ."""

    output: "ir.Value"
    start: int
    end: int
    sizes: tuple[int, ...] | None = None


def unpack_products(editor: Editor) -> bool:
    """Splits every such product; returns whether there was one."""
    changed = False
    for node in editor.nodes("MatMul"):
        weight = node.inputs[1]
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or len(tensor.shape) != 2 or len(weight.uses()) != 1:
            continue
        parts = _parts(editor, node, int(tensor.shape[1]))
        for number, part in enumerate(parts):
            columns = _columns(editor, weight, part, number)
            product = editor.add("MatMul", [node.inputs[0], columns], node)
            if part.sizes is not None:
                target = editor.constant(np.array(part.sizes, np.int64), "sizes")
                product = editor.add("Reshape", [product, target], node)
            editor.replace(part.output, product)
        changed |= bool(parts)
    return changed


def _parts(editor: Editor, node: "ir.Node", width: int) -> list[_Columns]:
    """Returns the pieces into which a product is split; none if it is used otherwise."""
    output = node.outputs[0]
    rank = editor.facts.rank(output)
    if rank is None or output.is_graph_output():
        return []
    split, reshape = only_user(output, "Split"), only_user(output, "Reshape")
    if split is not None:
        last = split.attributes.get_int("axis", 0) in (-1, rank - 1)
        return _split_parts(editor, split) if last else []
    if reshape is not None:
        return _reshaped_parts(editor, output, reshape, width)
    return _sliced_parts(editor, output, rank, width)


def _split_parts(editor: Editor, split: "ir.Node") -> list[_Columns]:
    parts, start = [], 0
    for piece in split.outputs:
        shape = editor.facts.shape(piece)
        size = shape[-1].number if shape else None
        if size is None:
            return []
        parts.append(_Columns(piece, start, start + size))
        start += size
    return parts


def _reshaped_parts(
    editor: Editor, output: "ir.Value", reshape: "ir.Node", width: int
) -> list[_Columns]:
    """Returns the pieces of (.., width) reshaped to (.., pieces, ...) and split."""
    whole, apart = editor.facts.shape(output), editor.facts.shape(reshape.outputs[0])
    split = only_user(reshape.outputs[0], "Split")
    if split is None or whole is None or apart is None or whole[:-1] != apart[: len(whole) - 1]:
        return []
    axis = split.attributes.get_int("axis", 0) % len(apart)
    pieces = [editor.facts.shape(piece) for piece in split.outputs]
    rest = [size.number for size in apart[len(whole) :]]
    if axis != len(whole) - 1 or None in rest or apart[axis].number != len(pieces):
        return []
    if any(shape is None or shape[axis].number != 1 for shape in pieces):
        return []
    each = width // len(pieces)
    sizes = (*[0] * axis, 1, *(size for size in rest if size is not None))
    return [_Columns(p, i * each, (i + 1) * each, sizes) for i, p in enumerate(split.outputs)]


def _sliced_parts(editor: Editor, output: "ir.Value", rank: int, width: int) -> list[_Columns]:
    """Returns the pieces of Slices that together cover every column once."""
    parts = []
    for use in output.uses():
        cut = use.node
        if cut.op_type != "Slice" or use.idx != 0 or len(cut.inputs) < 4:
            return []
        starts, axes = (editor.facts.content(cut.inputs[i]) for i in (1, 3))
        steps = editor.facts.content(cut.inputs[4]) if len(cut.inputs) > 4 else starts * 0 + 1
        shape = editor.facts.shape(cut.outputs[0])
        if any(c is None or c.size != 1 for c in (starts, axes, steps)) or not shape:
            return []
        start, size = starts.flat[0].number, shape[-1].number
        along = axes.flat[0].number in (-1, rank - 1) and steps.flat[0].number == 1
        if start is None or size is None or not along or start < 0:
            return []
        parts.append(_Columns(cut.outputs[0], start, start + size))
    parts.sort(key=lambda part: part.start)
    ends = [0, *(part.end for part in parts)]
    covers = [part.start for part in parts] == ends[:-1] and ends[-1] == width
    return parts if covers and len(parts) > 1 else []


def _columns(editor: Editor, weight: "ir.Value", part: _Columns, number: int) -> "ir.Value":
    """Returns some columns of a weight, extracted when they are used."""
    import onnx_ir as ir

    tensor = weight.const_value
    assert tensor is not None

    def cut() -> "ir.Tensor":
        columns = tensor.numpy()[:, part.start : part.end]
        return ir.Tensor(np.ascontiguousarray(columns), dtype=tensor.dtype)

    shape = ir.Shape([int(tensor.shape[0]), part.end - part.start])
    return editor.weight(
        ir.LazyTensor(cut, tensor.dtype, shape=shape, name=f"{weight.name}.{number}")
    )
