"""Parses attention scores: the product of queries and keys, and later steps."""

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import Editor, is_close, number, operands, producer
from embconvert.rewrite.masks import HIDDEN
from embconvert.rewrite.shapes import permutation

if TYPE_CHECKING:
    import onnx_ir as ir

_BOOL = 9  # TensorProto's number
_PARTS = ("Slice", "Unsqueeze", "Squeeze", "Reshape", "Expand")
# Of 2048 positions by 2048; it is read into memory.
_LARGEST_MASK = 1 << 22

#: Operators that return their first input; a Cast only if the type does not change.
PASSED = ("Cast", "Identity", "Dropout")


class Unknown(Exception):  # noqa: N818 - names what the graph is
    """An attention that the rule does not support; the message says why."""


@dataclass
class AttentionScores:
    """The input of a Softmax.

    Attributes:
        query: (batch, heads, seq, size), or with heads merged into batch.
        key: (batch, heads, seq, size), or with heads merged into batch.
        scale: Of their product.
        cap: Of the scaled product, or None.
        steps: Later steps in order: ("add", value, rank), ("scale", factor), ("floor", least) and
            ("where", condition, rank, fill, kept when). The rank is that of the scores: with 3, the
            value has heads merged into batch, too.
    """

    query: "ir.Value"
    key: "ir.Value"
    scale: float = 1.0
    cap: float | None = None
    steps: list[tuple[Any, ...]] = field(default_factory=list)

    def scale_by(self, factor: float) -> None:
        """Multiplies the current scores."""
        if self.cap is not None:
            raise Unknown("its capped scores are scaled")
        self.scale *= factor
        if self.steps:
            self.steps.append(("scale", factor))


def parse_sinks(
    editor: Editor, value: "ir.Value | None"
) -> "tuple[ir.Value | None, ir.Value | None]":
    """Returns the input of a Softmax without sinks, and the sinks, or None if there are none.

    Sinks are a last column of scores, the same for each query. The largest score may be
    subtracted, which changes nothing.
    """
    difference = producer(value, "Sub")
    if difference is not None:
        largest = producer(difference.inputs[1], "ReduceMax")
        if largest is not None and largest.inputs[0] is difference.inputs[0]:
            value = difference.inputs[0]
    concat = producer(value, "Concat")
    rank = editor.facts.rank(value)
    if concat is None or rank is None or len(concat.inputs) != 2:
        return value, None
    if concat.attributes.get_int("axis", 0) not in (-1, rank - 1):
        return value, None
    scores, sinks = concat.inputs
    expand = producer(sinks, "Expand")
    return scores, sinks if expand is None else expand.inputs[0]


def cuts_off_sinks(editor: Editor, node: "ir.Node") -> bool:
    """Whether a node leaves only the last column out."""
    if node.op_type != "Slice":
        return False
    rank = editor.facts.rank(node.inputs[0])
    found = [editor.facts.content(value) for value in node.inputs[1:]]
    numbers = [
        item.flat[0].number if item is not None and item.size == 1 else None for item in found
    ]
    steps = numbers.pop() if len(numbers) > 3 else 1
    return rank is not None and steps == 1 and numbers in ([0, -1, -1], [0, -1, rank - 1])


def parse_scores(editor: Editor, value: "ir.Value | None") -> AttentionScores | None:
    """Returns the structure of scores, or None if there is no product of queries and keys."""
    node = value.producer() if value is not None else None
    if node is None:
        return None
    if node.op_type == "MatMul":
        return _parse_product(editor, node)
    if node.op_type in ("Mul", "Div"):
        return _parse_scaled(editor, node)
    if node.op_type == "Add":
        return _parse_selected(editor, node) or _parse_sum(editor, node)
    if node.op_type == "Where":
        for index, kept in ((1, True), (2, False)):
            fill = number(node.inputs[3 - index])
            masked = parse_scores(editor, node.inputs[index]) if fill is not None else None
            if masked is not None:
                rank = editor.facts.rank(node.outputs[0])
                masked.steps.append(("where", node.inputs[0], rank, fill, kept))
                return masked
        return None
    if node.op_type == "Max" and len(node.inputs) == 2:
        return _parse_floored(editor, node)
    passed = node.op_type in PASSED and not changes_type(editor, node)
    merged = node.op_type == "Reshape" and is_head_merge(editor, node)
    if not passed and not merged:
        return None
    return parse_scores(editor, node.inputs[0])


def _parse_sum(editor: Editor, node: "ir.Node") -> AttentionScores | None:
    found = [(parse_scores(editor, v), i) for i, v in enumerate(node.inputs)]
    known = [(scores, i) for scores, i in found if scores is not None]
    if len(known) > 1:  # as of a text and its layout; measured with lilt, on one thread
        raise Unknown("its scores are a sum of products: with one as bias it is no faster")
    if not known:
        return None
    total, index = known[0]
    total.steps.append(("add", node.inputs[1 - index], editor.facts.rank(node.outputs[0])))
    return total


def _parse_selected(editor: Editor, node: "ir.Node") -> AttentionScores | None:
    """Parses `scores * kept + (1 - kept) * fill`, where kept is 0 or 1."""
    for kept_part, filled_part in operands(node):
        selected, filled = producer(kept_part, "Mul"), producer(filled_part, "Mul")
        if selected is None or filled is None:
            continue
        for (value, kept), (hidden, by) in itertools.product(operands(selected), operands(filled)):
            fill, rest = number(by), producer(hidden, "Sub")
            if fill is None or rest is None or rest.inputs[1] is not kept:
                continue
            if not is_close(rest.inputs[0], 1) or not _is_zero_or_one(kept):
                continue
            scores = parse_scores(editor, value)
            if scores is not None:
                condition = editor.add("Cast", [kept], node, to=_BOOL)
                rank = editor.facts.rank(node.outputs[0])
                scores.steps.append(("where", condition, rank, fill, True))
                return scores
    return None


def _is_zero_or_one(value: "ir.Value") -> bool:
    """Whether each number is 0 or 1: a part of a constant, such as a triangle."""
    while (node := producer(value, *_PARTS)) is not None and node.inputs[0] is not None:
        value = node.inputs[0]
    tensor = value.const_value
    if tensor is None or tensor.size > _LARGEST_MASK:
        return False
    return bool(np.isin(tensor.numpy(), (0, 1)).all())


def _parse_floored(editor: Editor, node: "ir.Node") -> AttentionScores | None:
    for value, least in operands(node):
        floor = number(least)
        if floor is not None and floor <= HIDDEN:
            scores = parse_scores(editor, value)
            if scores is not None:
                scores.steps.append(("floor", floor))
            return scores
    return None


def _parse_product(editor: Editor, node: "ir.Node") -> AttentionScores | None:
    query, key = node.inputs
    if query is None or key is None or query.is_initializer() or key.is_initializer():
        return None
    query, factor = _unscaled(query)
    key, by = _unscaled(key)
    rank = editor.facts.rank(key)
    if rank not in (3, 4):
        return None
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    transpose = producer(key, "Transpose")
    if transpose is not None and permutation(transpose, rank) == swapped:
        key, more = _unscaled(transpose.inputs[0])
        by *= more
    else:
        key = editor.add("Transpose", [key], node, perm=swapped)
    return AttentionScores(query, key, scale=factor * by)


def _unscaled(value: "ir.Value") -> "tuple[ir.Value, float]":
    """Returns the value of which another is a multiple, and the factor."""
    factor = 1.0
    while True:
        node = producer(value, "Mul", "Div")
        if node is None:
            return value, factor
        by, index = number(node.inputs[1]), 0
        if by is None and node.op_type == "Mul":
            by, index = number(node.inputs[0]), 1
        if by is None or by == 0:
            return value, factor
        factor = factor * by if node.op_type == "Mul" else factor / by
        value = node.inputs[index]


def _parse_scaled(editor: Editor, node: "ir.Node") -> AttentionScores | None:
    value, factor = _unscaled(node.outputs[0])
    if value is node.outputs[0]:
        return None
    tanh = producer(value, "Tanh")
    if tanh is None:
        scores = parse_scores(editor, value)
        if scores is not None:
            scores.scale_by(factor)
        return scores
    scores = parse_scores(editor, tanh.inputs[0])
    if scores is None:
        return None
    if scores.steps or scores.cap is not None:
        raise Unknown("its scores are capped after a mask")
    scores.cap = factor
    # The operator divides by the cap itself.
    scores.scale *= factor
    return scores


def changes_type(editor: Editor, node: "ir.Node") -> bool:
    types = editor.facts.dtype(node.inputs[0]), editor.facts.dtype(node.outputs[0])
    return node.op_type == "Cast" and (None in types or types[0] != types[1])


def is_head_merge(editor: Editor, reshape: "ir.Node") -> bool:
    """Whether a Reshape is between (batch, heads, a, b) and (batch * heads, a, b)."""
    ours, theirs = (editor.facts.shape(v) for v in (reshape.inputs[0], reshape.outputs[0]))
    if ours is None or theirs is None or {len(ours), len(theirs)} != {3, 4}:
        return False
    four, three = (ours, theirs) if len(ours) == 4 else (theirs, ours)
    return four[0] * four[1] == three[0] and four[2:] == three[1:]
