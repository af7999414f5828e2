"""Attention, whatever it adds to its scores, becomes one operator.

Needs: Softmax over the last axis of `scale * Q @ K^T` with anything added to it or filled in by
masks, and its product with V; Q, K and V as (batch, heads, seq, size), heads and size known.
Guarantees: The same function. What was added to the scores is the operator's bias, computed once
for all layers that add the same; a row with no key that it may see attends to all alike, as
before.

`MultiHeadAttention` takes everything but capped scores. `GroupQueryAttention` takes causal
attention: with heads that share keys and values, which MultiHeadAttention would need copied, and
with capped scores (`tanh(x / cap) * cap`).
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import MICROSOFT, Editor, Unreadable, only_user, producer
from embconvert.rewrite.masks import is_causal
from embconvert.rewrite.scores import (
    PASSED,
    Scores,
    Unknown,
    changes_type,
    is_head_merge,
    parse_scores,
)
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

# GroupQueryAttention takes heads of a multiple of this size only.
_GROUPED_SIZES = 8


@dataclass(frozen=True)
class _Attention:
    """One attention, as found."""

    scores: Scores
    value: "ir.Value"
    product: "ir.Node"
    heads: int
    size: int
    value_size: int


def fuse_attention(editor: Editor) -> bool:
    """Replaces every attention that it knows; returns whether there was one."""
    changed = False
    for softmax in editor.nodes("Softmax"):
        with contextlib.suppress(Unknown, Unreadable):
            with editor.trial():
                attention = _find(editor, softmax)
                output = _build(editor, attention, softmax)
            editor.replace(attention.product.outputs[0], output)
            changed = True
    return changed


def why_left(editor: Editor, softmax: "ir.Node") -> str:
    """Returns why a Softmax is no attention that the rule fuses."""
    try:
        with editor.trial(keep=False):
            _build(editor, _find(editor, softmax), softmax)
    except (Unknown, Unreadable) as reason:
        return str(reason)
    return "a rule made it possible only now"


def _find(editor: Editor, softmax: "ir.Node") -> _Attention:
    facts = editor.facts
    rank = facts.rank(softmax.outputs[0])
    if rank is None:
        raise Unknown("the sizes of its scores are not known")
    if softmax.attributes.get_int("axis", -1) not in (-1, rank - 1):
        raise Unknown("its Softmax is not over a last axis")
    product, value = _product_with_values(editor, softmax)
    scores = parse_scores(editor, softmax.inputs[0])
    if scores is None:
        raise Unknown("its scores are no product of queries and keys")
    query, key = (_heads_apart(editor, v) for v in (scores.query, scores.key))
    scores.query, scores.key = query, key
    value = _heads_apart(editor, value)
    shapes = [facts.shape(v) for v in (query, key, value)]
    if any(shape is None or len(shape) != 4 for shape in shapes):
        raise Unknown("its heads cannot be told")
    (b, n, s, d), (kb, kn, t, kd), (vb, vn, vt, vd) = shapes  # type: ignore[misc]
    if not (b == kb == vb and n == kn == vn and t == vt and d == kd):
        raise Unknown("its queries, keys and values differ in their heads")
    if n.number is None or d.number is None or vd.number is None:
        raise Unknown("the number or the size of its heads is not fixed")
    del s
    return _Attention(scores, value, product, n.number, d.number, vd.number)


def _product_with_values(editor: Editor, softmax: "ir.Node") -> "tuple[ir.Node, ir.Value]":
    """Returns the product with V, and V."""
    value = softmax.outputs[0]
    while True:
        user = only_user(value)
        if user is None:
            raise Unknown("its probabilities are used more than once")
        if user.op_type == "MatMul" and user.inputs[0] is value and user.inputs[1] is not None:
            return user, user.inputs[1]
        merges = user.op_type == "Reshape" and is_head_merge(editor, user)
        if not merges and (user.op_type not in PASSED or changes_type(editor, user)):
            raise Unknown(f"its probabilities go to {user.op_type}")
        value = user.outputs[0]


def _heads_apart(editor: Editor, value: "ir.Value") -> "ir.Value":
    """Returns (batch, heads, a, b) for what may be (batch * heads, a, b)."""
    if editor.facts.rank(value) == 4:
        return value
    reshape = producer(value, "Reshape")
    if reshape is None or reshape.inputs[0] is None or not is_head_merge(editor, reshape):
        raise Unknown("its heads are merged with the batch")
    return reshape.inputs[0]


def _build(editor: Editor, attention: _Attention, softmax: "ir.Node") -> "ir.Value":
    """Inserts the operator; returns (batch, heads, seq, size) in place of the product with V."""
    scores, product = attention.scores, attention.product
    bias = _bias(editor, attention, softmax)
    causal = bias is not None and is_causal(editor, bias)
    key, groups = _ungrouped(editor, scores.key)
    value, same = _ungrouped(editor, attention.value)
    attributes: dict[str, Any] = {"num_heads": attention.heads, "scale": scores.scale}
    query = _heads_last(editor, scores.query, product)
    grouped = causal and groups == same and attention.size % _GROUPED_SIZES == 0
    if grouped and (groups > 1 or scores.cap is not None):
        if attention.size != attention.value_size:
            raise Unknown("its values are of another size than its keys")
        key, value = (_heads_last(editor, v, product) for v in (key, value))
        attributes["kv_num_heads"] = attention.heads // groups
        if scores.cap is not None:
            attributes["softcap"] = scores.cap
        batch, length = _lengths(editor, attention, product)
        inputs = [query, key, value, None, None, batch, length, None, None, None, bias]
        output = _grouped(editor, inputs, product, attributes)
    else:
        if scores.cap is not None:
            raise Unknown("its scores are capped, and it is not causal, or of an odd head size")
        if groups == same == 1:
            key, value = (_heads_last(editor, v, product) for v in (key, value))
        else:  # the operator takes copied heads as they are
            key, value = scores.key, attention.value
        inputs = [query, key, value, *([None, None, bias] if bias is not None else [])]
        output = editor.add("MultiHeadAttention", inputs, product, domain=MICROSOFT, **attributes)
    shape = editor.constant(np.array([0, 0, attention.heads, attention.value_size]), "heads")
    apart = editor.add("Reshape", [output, shape], product)
    output = editor.add("Transpose", [apart], product, perm=(0, 2, 1, 3))
    if editor.facts.rank(product.outputs[0]) == 3:
        merged = editor.facts.shape(product.outputs[0])
        assert merged is not None
        target = editor.sizes((Size.of(-1), *merged[1:]), product)
        output = editor.add("Reshape", [output, target], product)
    return output


def _heads_last(editor: Editor, value: "ir.Value", before: "ir.Node") -> "ir.Value":
    """Returns (batch, seq, heads * size) of (batch, heads, seq, size)."""
    shape = editor.facts.shape(value)
    assert shape is not None
    swapped = editor.add("Transpose", [value], before, perm=(0, 2, 1, 3))
    width = (shape[1] * shape[3]).number
    return editor.add(
        "Reshape", [swapped, editor.constant(np.array([0, 0, width]), "width")], before
    )


def _ungrouped(editor: Editor, value: "ir.Value") -> "tuple[ir.Value, int]":
    """Returns (batch, groups of heads, seq, size) and how often each is repeated."""
    reshape = producer(value, "Reshape")
    expand = producer(reshape.inputs[0], "Expand") if reshape is not None else None
    unsqueeze = producer(expand.inputs[0], "Unsqueeze", "Reshape") if expand is not None else None
    if expand is None or unsqueeze is None:
        return value, 1
    one, many, all_heads = (
        editor.facts.shape(v) for v in (unsqueeze.inputs[0], expand.outputs[0], value)
    )
    if one is None or many is None or all_heads is None or (len(one), len(many)) != (4, 5):
        return value, 1
    times = many[2].number
    if times is None or (*many[:2], *many[3:]) != one or one[1] * times != all_heads[1]:
        return value, 1
    return unsqueeze.inputs[0], times


def _grouped(
    editor: Editor, inputs: "list[ir.Value | None]", before: "ir.Node", attributes: dict[str, Any]
) -> "ir.Value":
    """Adds a GroupQueryAttention, which has to tell its keys and values too."""
    output = editor.add("GroupQueryAttention", inputs, before, domain=MICROSOFT, **attributes)
    node = output.producer()
    assert node is not None
    node.resize_outputs(3)
    for name, extra in zip(("key", "value"), node.outputs[1:], strict=True):
        extra.name = f"{output.name}_{name}"
    return output


def _lengths(
    editor: Editor, attention: _Attention, before: "ir.Node"
) -> "tuple[ir.Value, ir.Value]":
    """Returns the index of each row's last key, (batch) int32, and their number, () int32.

    Padding is in the bias, so every row is of full length.
    """
    import onnx_ir as ir

    shape = editor.facts.shape(attention.scores.query)
    assert shape is not None
    batch = editor.sizes((shape[0],), before)
    length = editor.sizes((shape[2],), before)
    total = editor.add("Cast", [length], before, to=int(ir.DataType.INT32))
    last = editor.add("Sub", [total, editor.constant(np.array([1], np.int32), "one")], before)
    scalar = editor.constant(np.array([], np.int64), "scalar")
    return (
        editor.add("Expand", [last, batch], before),
        editor.add("Reshape", [total, scalar], before),
    )


def _bias(editor: Editor, attention: _Attention, softmax: "ir.Node") -> "ir.Value | None":
    """Returns what is added to the scores, (batch or 1, heads or 1, seq, keys), or None."""
    bias: ir.Value | None = None
    for kind, *arguments in attention.scores.steps:
        if kind == "add":
            addend = arguments[0]
            bias = addend if bias is None else editor.add("Add", [bias, addend], softmax)
        elif kind == "scale":
            factor = editor.constant(np.float32(arguments[0]), "scale")
            bias = editor.add("Mul", [bias, factor], softmax)
        elif kind == "where":
            condition, fill, kept = arguments
            filled = editor.constant(np.float32(fill), "fill")
            other = bias if bias is not None else editor.constant(np.float32(0), "zero")
            branches = [other, filled] if kept else [filled, other]
            bias = editor.add("Where", [condition, *branches], softmax)
        elif bias is not None:
            bias = editor.add("Reshape", [bias, arguments[0]], softmax)
    if bias is None:
        return None
    return _of_four_axes(editor, attention, bias, softmax)


def _of_four_axes(
    editor: Editor, attention: _Attention, bias: "ir.Value", before: "ir.Node"
) -> "ir.Value":
    query, key = (editor.facts.shape(v) for v in (attention.scores.query, attention.scores.key))
    shape = editor.facts.shape(bias)
    if shape is None or query is None or key is None or len(shape) > 4:
        raise Unknown("the sizes of what it adds to its scores are not known")
    if len(shape) < 4:
        axes = editor.constant(np.arange(4 - len(shape)), "axes")
        bias = editor.add("Unsqueeze", [bias, axes], before)
        shape = (*[Size.of(1)] * (4 - len(shape)), *shape)
    one = Size.of(1)
    wanted = (query[0], Size.of(attention.heads), query[2], key[2])
    if any(size not in (one, full) for size, full in zip(shape, wanted, strict=True)):
        raise Unknown("what it adds to its scores is of another size")
    if shape[2:] != wanted[2:]:
        bias = editor.add("Expand", [bias, editor.sizes((one, one, *wanted[2:]), before)], before)
    return bias
