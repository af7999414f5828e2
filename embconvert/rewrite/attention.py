"""Fuses attention, with any additions to its scores, into one operator.

Needs: Softmax over the last axis of `scale * Q @ K^T`, with anything added to it or filled in by
masks, and its product with V; Q, K and V are (batch, heads, seq, size) with known heads and size.
Guarantees: The same function. Additions to the scores become the operator's bias, computed once for
all layers with the same additions; a row that may see no key attends to all keys equally, as
before.

`MultiHeadAttention` supports everything except capped scores and sinks. `GroupQueryAttention`
supports causal attention: with heads that share keys and values, which would have to be copied for
MultiHeadAttention, with capped scores (`tanh(x / cap) * cap`), and with a sink for each head: a
score of its own, as of a key without a value.
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import MICROSOFT, Editor, Unreadable, only_user, producer
from embconvert.rewrite.masks import is_causal
from embconvert.rewrite.score_bias import bias_of
from embconvert.rewrite.scores import (
    PASSED,
    AttentionScores,
    Unknown,
    changes_type,
    cuts_off_sinks,
    is_head_merge,
    parse_scores,
    parse_sinks,
)
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

# GroupQueryAttention supports only multiples of this head size.
_GROUPED_SIZES = 8


@dataclass(frozen=True)
class _Attention:
    """An attention pattern in a graph; sinks are (1, heads, 1, 1), or None."""

    scores: AttentionScores
    sinks: "ir.Value | None"
    value: "ir.Value"
    product: "ir.Node"
    heads: int
    size: int
    value_size: int


def fuse_attention(editor: Editor) -> bool:
    """Fuses all supported attention patterns; returns whether there was one."""
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
    """Returns why the rule does not fuse a Softmax."""
    try:
        with editor.trial(keep=False):
            _build(editor, _find(editor, softmax), softmax)
    except (Unknown, Unreadable) as reason:
        return str(reason)
    return "another rule made it possible only now"


def _find(editor: Editor, softmax: "ir.Node") -> _Attention:
    facts = editor.facts
    rank = facts.rank(softmax.outputs[0])
    if rank is None:
        raise Unknown("the sizes of its scores are unknown")
    if softmax.attributes.get_int("axis", -1) not in (-1, rank - 1):
        raise Unknown("its Softmax is not over the last axis")
    before, sinks = parse_sinks(editor, softmax.inputs[0])
    product, value = _product_with_values(editor, softmax, has_sinks=sinks is not None)
    scores = parse_scores(editor, before)
    if scores is None:
        raise Unknown("its scores are not a product of queries and keys")
    query, key, value = _heads_apart(editor, product, scores.query, scores.key, value)
    scores.query, scores.key = query, key
    shapes = [facts.shape(v) for v in (query, key, value)]
    if any(shape is None or len(shape) != 4 for shape in shapes):
        raise Unknown("its heads are unknown")
    (b, n, s, d), (kb, kn, t, kd), (vb, vn, vt, vd) = shapes  # type: ignore[misc]
    # One head of keys and values may be broadcast to all of the queries.
    if not (b == kb == vb and kn == vn and kn in (n, Size.of(1)) and t == vt and d == kd):
        raise Unknown("its queries, keys and values have different heads")
    if n.number is None or d.number is None or vd.number is None:
        raise Unknown("the number or the size of its heads is not fixed")
    del s
    if sinks is not None and editor.facts.shape(sinks) != (Size.of(1), n, Size.of(1), Size.of(1)):
        raise Unknown("its sinks are not one number for each head")
    return _Attention(scores, sinks, value, product, n.number, d.number, vd.number)


def _product_with_values(
    editor: Editor, softmax: "ir.Node", *, has_sinks: bool
) -> "tuple[ir.Node, ir.Value]":
    value = softmax.outputs[0]
    while True:
        user = only_user(value)
        if user is None:
            raise Unknown("its probabilities are used more than once")
        if has_sinks:
            if not cuts_off_sinks(editor, user):
                raise Unknown("its sinks are not cut off")
            has_sinks, value = False, user.outputs[0]
            continue
        if user.op_type == "MatMul" and user.inputs[0] is value and user.inputs[1] is not None:
            return user, user.inputs[1]
        merges = user.op_type == "Reshape" and is_head_merge(editor, user)
        if not merges and (user.op_type not in PASSED or changes_type(editor, user)):
            raise Unknown(f"its probabilities go to {user.op_type}")
        value = user.outputs[0]


def _heads_apart(editor: Editor, before: "ir.Node", *values: "ir.Value") -> "list[ir.Value]":
    """Returns (batch, heads, a, b) for values that may be (batch * heads, a, b).

    One that is merged by other nodes than a Reshape is split as another of the three is.
    """
    found = [_before_merge(editor, value) for value in values]
    known = [editor.facts.shape(value) for value in found if value is not None]
    if not known or known[0] is None:
        raise Unknown("its heads are merged with the batch")
    batch, heads = known[0][:2]
    apart = []
    for value, merged in zip(found, values, strict=True):
        if value is not None:
            apart.append(value)
            continue
        shape = editor.facts.shape(merged)
        if shape is None or len(shape) != 3 or shape[0] != batch * heads:
            raise Unknown("its heads are merged with the batch")
        sizes = editor.sizes((Size.of(-1), heads, *shape[1:]), before)
        apart.append(editor.add("Reshape", [merged, sizes], before))
    return apart


def _before_merge(editor: Editor, value: "ir.Value") -> "ir.Value | None":
    """Returns (batch, heads, a, b) for such a value, or for a Reshape of it to three axes."""
    if editor.facts.rank(value) == 4:
        return value
    reshape = producer(value, "Reshape")
    if reshape is None or not is_head_merge(editor, reshape):
        return None
    return reshape.inputs[0]


def _build(editor: Editor, attention: _Attention, softmax: "ir.Node") -> "ir.Value":
    """Inserts the operator; returns (batch, heads, seq, size), the product with V."""
    scores, product = attention.scores, attention.product
    bias = bias_of(editor, scores, attention.heads, softmax)
    causal = bias is not None and is_causal(editor, bias)
    key, groups = _ungrouped(editor, scores.key, attention.heads)
    value, same = _ungrouped(editor, attention.value, attention.heads)
    attributes: dict[str, Any] = {"num_heads": attention.heads, "scale": scores.scale}
    query = _heads_last(editor, scores.query, product)
    grouped = causal and groups == same and attention.size % _GROUPED_SIZES == 0
    if grouped and (groups > 1 or scores.cap is not None or attention.sinks is not None):
        if attention.size != attention.value_size:
            raise Unknown("the size of its values differs from that of its keys")
        key, value = (_heads_last(editor, v, product) for v in (key, value))
        attributes["kv_num_heads"] = attention.heads // groups
        if scores.cap is not None:
            attributes["softcap"] = scores.cap
        batch, length = _lengths(editor, attention, product)
        inputs = [query, key, value, None, None, batch, length, None, None, None, bias]
        if attention.sinks is not None:
            flat = editor.constant(np.array([attention.heads]), "sinks")
            inputs.append(editor.add("Reshape", [attention.sinks, flat], product))
        output = _grouped(editor, inputs, product, attributes)
    else:
        if scores.cap is not None or attention.sinks is not None:
            has = "its scores are capped" if attention.sinks is None else "it has sinks"
            raise Unknown(f"{has}, but it is not causal or has an unsupported head size")
        if groups == same == 1:
            key, value = (_heads_last(editor, v, product) for v in (key, value))
        elif key is scores.key:
            raise Unknown("its heads share keys and values, but it is not causal")
        else:  # the operator accepts repeated heads
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
    """Returns (batch, seq, heads * size) for (batch, heads, seq, size)."""
    shape = editor.facts.shape(value)
    assert shape is not None
    swapped = editor.add("Transpose", [value], before, perm=(0, 2, 1, 3))
    width = (shape[1] * shape[3]).number
    return editor.add(
        "Reshape", [swapped, editor.constant(np.array([0, 0, width]), "width")], before
    )


def _ungrouped(editor: Editor, value: "ir.Value", heads: int) -> "tuple[ir.Value, int]":
    """Returns (batch, groups of heads, seq, size) and the number of repetitions."""
    shape = editor.facts.shape(value)
    if shape is not None and shape[1].number == 1:
        return value, heads
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
    """Adds a GroupQueryAttention, which must also output keys and values."""
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

    Padding is in the bias, so every row has full length.
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
