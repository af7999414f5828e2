"""How the scores of an attention are made: the product of queries and keys, and what follows."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embconvert.rewrite.editing import Editor, number, producer
from embconvert.rewrite.shapes import permutation

if TYPE_CHECKING:
    import onnx_ir as ir

#: Operators that hand their first input on, a Cast where it changes no type.
PASSED = ("Cast", "Identity", "Dropout")


class Unknown(Exception):  # noqa: N818 - names what the graph is
    """An attention that the rule does not know; the message says why."""


@dataclass
class Scores:
    """What a Softmax is taken of.

    Attributes:
        query: (batch, heads, seq, size), or heads merged into batch.
        key: (batch, heads, seq, size), likewise.
        scale: Of their product.
        cap: Of the scaled product; None for none.
        steps: What is done to it afterwards, in order: ("add", value), ("scale", factor),
            ("where", condition, fill, kept when) and ("reshape", target).
    """

    query: "ir.Value"
    key: "ir.Value"
    scale: float = 1.0
    cap: float | None = None
    steps: list[tuple[Any, ...]] = field(default_factory=list)

    def scale_by(self, factor: float) -> None:
        """Multiplies all so far."""
        if self.cap is not None:
            raise Unknown("its capped scores are scaled")
        self.scale *= factor
        if self.steps:
            self.steps.append(("scale", factor))


def parse_scores(editor: Editor, value: "ir.Value | None") -> Scores | None:
    """Returns how scores are made, or None when no product of queries and keys is in them."""
    node = value.producer() if value is not None else None
    if node is None:
        return None
    if node.op_type == "MatMul":
        return _parse_product(editor, node)
    if node.op_type in ("Mul", "Div"):
        return _parse_scaled(editor, node)
    if node.op_type == "Add":
        found = [(parse_scores(editor, v), i) for i, v in enumerate(node.inputs)]
        known = [(scores, i) for scores, i in found if scores is not None]
        if len(known) > 1:
            raise Unknown("its scores are a sum of products")
        if not known:
            return None
        total, index = known[0]
        total.steps.append(("add", node.inputs[1 - index]))
        return total
    if node.op_type == "Where":
        for index, kept in ((1, True), (2, False)):
            fill = number(node.inputs[3 - index])
            masked = parse_scores(editor, node.inputs[index]) if fill is not None else None
            if masked is not None:
                masked.steps.append(("where", node.inputs[0], fill, kept))
                return masked
        return None
    passed = node.op_type in PASSED and not changes_type(editor, node)
    merged = node.op_type == "Reshape" and is_head_merge(editor, node)
    if not passed and not merged:
        return None
    scores = parse_scores(editor, node.inputs[0])
    if scores is not None and merged and scores.steps:
        scores.steps.append(("reshape", node.inputs[1]))
    return scores


def _parse_product(editor: Editor, node: "ir.Node") -> Scores | None:
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
    return Scores(query, key, scale=factor * by)


def _unscaled(value: "ir.Value") -> "tuple[ir.Value, float]":
    """Returns what a value is a multiple of, and the factor."""
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


def _parse_scaled(editor: Editor, node: "ir.Node") -> Scores | None:
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
    """Whether a Cast is to another type."""
    types = editor.facts.dtype(node.inputs[0]), editor.facts.dtype(node.outputs[0])
    return node.op_type == "Cast" and (None in types or types[0] != types[1])


def is_head_merge(editor: Editor, reshape: "ir.Node") -> bool:
    """Whether a Reshape is between (batch, heads, a, b) and (batch * heads, a, b)."""
    ours, theirs = (editor.facts.shape(v) for v in (reshape.inputs[0], reshape.outputs[0]))
    if ours is None or theirs is None or {len(ours), len(theirs)} != {3, 4}:
        return False
    four, three = (ours, theirs) if len(ours) == 4 else (theirs, ours)
    return four[0] * four[1] == three[0] and four[2:] == three[1:]
