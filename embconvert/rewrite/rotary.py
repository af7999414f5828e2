"""Fuses rotary position embedding into one operator.

Needs: `x * cos + rotate_half(x) * sin`; x is (batch, heads, seq, size) or (batch, seq, heads,
size), and the two halves of cos and sin have the same angles. Guarantees: The same function,
`RotaryEmbedding`; its tables of cos and sin have half the width and are computed once for all
layers.

Source of the formula: https://arxiv.org/abs/2104.09864, in the layout of GPT-NeoX.
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import (
    MICROSOFT,
    Editor,
    Unreadable,
    number,
    operands,
    producer,
)
from embconvert.rewrite.shapes import axes_of, permutation
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

_HEADS_FIRST = (0, 2, 1, 3)


class _NotRotation(Exception):  # noqa: N818 - names what the factors are
    """The factors are not those of a rotation."""


@dataclass(frozen=True)
class _Rotation:
    """A rotated value, and the factors of its halves."""

    x: "ir.Value"
    cos: "ir.Value"
    sin: "ir.Value"


def fuse_rotary_embedding(editor: Editor) -> bool:
    """Fuses every rotary embedding; returns whether there was one."""
    changed = False
    for add in editor.nodes("Add"):
        rotation = _find(editor, add)
        if rotation is None:
            continue
        with contextlib.suppress(_NotRotation, Unreadable):
            with editor.trial():
                output = _build(editor, rotation, add)
            editor.replace(add.outputs[0], output)
            changed = True
    return changed


def _find(editor: Editor, add: "ir.Node") -> _Rotation | None:
    for direct, turned in operands(add):
        straight, rotated = producer(direct, "Mul"), producer(turned, "Mul")
        if straight is None or rotated is None:
            continue
        for half_turn, sin in operands(rotated):
            x = _rotated_half(editor, half_turn)
            for same, cos in operands(straight):
                if x is not None and same is x:
                    return _Rotation(x, cos, sin)
    return None


def _rotated_half(editor: Editor, value: "ir.Value") -> "ir.Value | None":
    """Returns x of `concat(-x[half:], x[:half])` along the last axis."""
    concat = producer(value, "Concat")
    if concat is None or len(concat.inputs) != 2:
        return None
    negated = producer(concat.inputs[0], "Neg")
    shape = editor.facts.shape(value)
    if negated is None or not shape or shape[-1].number is None:
        return None
    if concat.attributes.get_int("axis", 0) not in (-1, len(shape) - 1):
        return None
    half = shape[-1].number // 2
    upper = _part(editor, negated.inputs[0], half, 2 * half)
    lower = _part(editor, concat.inputs[1], 0, half)
    same = upper is not None and upper is lower and editor.facts.shape(upper) == shape
    return upper if same else None


def _part(editor: Editor, value: "ir.Value | None", start: int, end: int) -> "ir.Value | None":
    """Returns the value of which another is `[..., start:end]`."""
    node = producer(value, "Slice", "Split")
    rank = editor.facts.rank(value)
    if node is None or rank is None or node.inputs[0] is None:
        return None
    if node.op_type == "Split":
        shape = editor.facts.shape(node.inputs[0])
        halves = len(node.outputs) == 2 and shape is not None and shape[-1].number is not None
        index = 1 if start else 0
        last = node.attributes.get_int("axis", 0) in (-1, rank - 1)
        size = editor.facts.shape(value)
        right = halves and size is not None and size[-1].number == end - start
        return node.inputs[0] if right and last and node.outputs[index] is value else None
    # The size determines the end.
    starts, axes = (editor.facts.content(node.inputs[i]) for i in (1, 3))
    if any(c is None or c.size != 1 for c in (starts, axes)):
        return None
    first, axis = starts.flat[0].number, axes.flat[0].number
    size = editor.facts.shape(value)
    if size is None or size[-1].number != end - start or axis not in (-1, rank - 1):
        return None
    return node.inputs[0] if first == start else None


def _build(editor: Editor, rotation: _Rotation, add: "ir.Node") -> "ir.Value":
    """Inserts the operator; raises _NotRotation unless each position has one factor."""
    facts, x = editor.facts, rotation.x
    shape, factor = facts.shape(x), facts.shape(rotation.cos)
    if shape is None or factor is None or len(shape) != 4 or len(factor) != 4:
        raise _NotRotation
    heads_first = factor[1].number == 1 and factor[2] == shape[2]
    seq_first = factor[2].number == 1 and factor[1] == shape[1]
    length = shape[2] if heads_first else shape[1]
    heads, size = (shape[1] if heads_first else shape[2]).number, shape[3].number
    if heads is None or size is None or not (heads_first or seq_first):
        raise _NotRotation
    if factor[0] not in (Size.of(1), shape[0]) or factor[3] != shape[3]:
        raise _NotRotation
    if factor != facts.shape(rotation.sin):
        raise _NotRotation
    tables = [_table(editor, value, size // 2, add) for value in (rotation.cos, rotation.sin)]
    positions = _positions(editor, factor[0], length, add)
    if heads_first:
        source = producer(x, "Transpose")
        if source is None or permutation(source, 4) != _HEADS_FIRST:
            return editor.add("RotaryEmbedding", [x, positions, *tables], add, domain=MICROSOFT)
        x = source.inputs[0]
    flat = editor.add("Reshape", [x, _sizes(editor, 0, 0, heads * size)], add)
    turned = editor.add("RotaryEmbedding", [flat, positions, *tables], add, domain=MICROSOFT)
    output = editor.add("Reshape", [turned, _sizes(editor, 0, 0, heads, size)], add)
    return editor.add("Transpose", [output], add, perm=_HEADS_FIRST) if heads_first else output


def _sizes(editor: Editor, *sizes: int) -> "ir.Value":
    return editor.constant(np.array(sizes, np.int64), "sizes")


def _table(editor: Editor, factor: "ir.Value", half: int, before: "ir.Node") -> "ir.Value":
    """Returns (positions, half) of a factor; raises _NotRotation if its halves may differ."""
    narrow = _half(editor, factor, before)
    if narrow is None:
        raise _NotRotation
    return editor.add("Reshape", [narrow, _sizes(editor, -1, half)], before)


def _half(editor: Editor, value: "ir.Value | None", before: "ir.Node") -> "ir.Value | None":
    """Returns the first half of a value along its last axis, if it is `concat(a, a)` inside."""
    node = value.producer() if value is not None else None
    if node is None or value is None:
        return None
    rank = editor.facts.rank(value)
    if node.op_type == "Concat":
        last = rank is not None and node.attributes.get_int("axis", 0) in (-1, rank - 1)
        twice = len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]
        return node.inputs[0] if last and twice else None
    rest = list(node.inputs[1:])
    place = 0
    if node.op_type in ("Mul", "Div", "Add"):
        if number(node.inputs[1]) is None:
            place, rest = 1, [node.inputs[0]]
        if number(rest[0]) is None or (place and node.op_type == "Div"):
            return None
    elif node.op_type == "Unsqueeze":
        axes = axes_of(editor.facts, node)
        if axes is None or rank is None or any(axis in (-1, rank - 1) for axis in axes):
            return None
    elif node.op_type not in ("Cos", "Sin", "Cast", "Identity"):
        return None
    inner = _half(editor, node.inputs[place], before)
    if inner is None:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    inputs = [*rest, inner] if place else [inner, *rest]
    return editor.add(node.op_type, inputs, before, **attributes)


def _positions(editor: Editor, rows: Size, length: Size, before: "ir.Node") -> "ir.Value":
    """Returns each token's row in the tables.

    If all texts share the positions, it is the index of the first row, (1); otherwise (batch, seq).
    """
    if rows.number == 1:
        return editor.constant(np.array([0], np.int64), "first_position")
    shape = editor.sizes((rows, length), before)
    size = editor.add("ReduceProd", [shape], before, keepdims=0)
    zero, one = (editor.constant(np.array(n, np.int64), "number") for n in (0, 1))
    return editor.add("Reshape", [editor.add("Range", [zero, size, one], before), shape], before)
