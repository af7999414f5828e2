"""What is added to attention scores, as one bias with an axis for the heads."""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.masks import HIDDEN
from embconvert.rewrite.scores import AttentionScores, Unknown
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir


def bias_of(
    editor: Editor, scores: AttentionScores, heads: int, softmax: "ir.Node"
) -> "ir.Value | None":
    """Returns the sum of additions to scores, (batch or 1, heads or 1, seq, keys), or None.

    Raises Unknown if it has another size.
    """
    bias: ir.Value | None = None
    for kind, *arguments in scores.steps:
        if kind == "add":
            value, rank = arguments
            addend = _unmerged(editor, scores, heads, value, rank, softmax)
            bias = addend if bias is None else editor.add("Add", [bias, addend], softmax)
        elif kind == "scale":
            factor = editor.constant(np.float32(arguments[0]), "scale")
            bias = editor.add("Mul", [bias, factor], softmax)
        elif kind == "floor":
            # What it keeps from minus infinity is the bias: scores themselves are not as low.
            least = editor.constant(np.float32(arguments[0]), "least")
            bias = bias if bias is None else editor.add("Max", [bias, least], softmax)
        else:
            condition, rank, fill, kept = arguments
            if fill > HIDDEN:  # it would be added to the score that it replaces
                raise Unknown("its mask fills scores in that are not hidden")
            condition = _unmerged(editor, scores, heads, condition, rank, softmax)
            filled = editor.constant(np.float32(fill), "fill")
            other = bias if bias is not None else editor.constant(np.float32(0), "zero")
            branches = [other, filled] if kept else [filled, other]
            bias = editor.add("Where", [condition, *branches], softmax)
    if bias is None:
        return None
    return _of_four_axes(editor, scores, heads, bias, softmax)


def _unmerged(
    editor: Editor,
    scores: AttentionScores,
    heads: int,
    value: "ir.Value",
    rank: int | None,
    before: "ir.Node",
) -> "ir.Value":
    """Returns a value as it broadcasts with (batch, heads, seq, keys); rank 3 merges heads."""
    query, shape = editor.facts.shape(scores.query), editor.facts.shape(value)
    if rank == 4 or (shape is not None and len(shape) < 3):
        return value
    if rank is None or shape is None or query is None:
        raise Unknown("the sizes of an addition to its scores are unknown")
    if shape[0].number == 1:
        return value
    if shape[0] != query[0] * heads:
        raise Unknown("an addition to its scores has another size")
    sizes = (Size.of(-1), Size.of(heads), *shape[1:])
    return editor.add("Reshape", [value, editor.sizes(sizes, before)], before)


def _of_four_axes(
    editor: Editor, scores: AttentionScores, heads: int, bias: "ir.Value", before: "ir.Node"
) -> "ir.Value":
    query, key = (editor.facts.shape(v) for v in (scores.query, scores.key))
    shape = editor.facts.shape(bias)
    if shape is None or query is None or key is None or len(shape) > 4:
        raise Unknown("the sizes of an addition to its scores are unknown")
    if len(shape) < 4:
        axes = editor.constant(np.arange(4 - len(shape)), "axes")
        bias = editor.add("Unsqueeze", [bias, axes], before)
        shape = (*[Size.of(1)] * (4 - len(shape)), *shape)
    one = Size.of(1)
    wanted = (query[0], Size.of(heads), query[2], key[2])
    if any(size not in (one, full) for size, full in zip(shape, wanted, strict=True)):
        raise Unknown("an addition to its scores has another size")
    if shape[2:] != wanted[2:]:
        bias = editor.add("Expand", [bias, editor.sizes((one, one, *wanted[2:]), before)], before)
    return bias
