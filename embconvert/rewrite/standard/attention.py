"""Attention in MatMul and Softmax.

Opset 23 has an Attention of its own, which few programs know; docs/standard-operators.md says what
these forms cost.
"""

from typing import TYPE_CHECKING

from embconvert.rewrite.editing import Editor, producer
from embconvert.rewrite.masks import is_causal
from embconvert.rewrite.standard.values import (
    NoStandardForm,
    given,
    scalar_like,
    sizes,
    width_of,
)

if TYPE_CHECKING:
    import onnx_ir as ir

_HEADS_FIRST = (0, 2, 1, 3)
_BIAS = 5
_LAST_KEYS, _GROUPED_BIAS, _SINKS = 5, 10, 11


def multi_head_attention(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns (batch, seq, heads * size); keys and values may be (batch, heads, seq, size)."""
    heads = node.attributes.get_int("num_heads", 0)
    query, key, value = (_heads_first(editor, given(node, i), heads, node) for i in range(3))
    query = _scaled(editor, node, query, heads)
    scores = editor.add("MatMul", [query, _turned(editor, key, node)], node)
    if len(node.inputs) > _BIAS and node.inputs[_BIAS] is not None:
        scores = editor.add("Add", [scores, node.inputs[_BIAS]], node)
    weights = editor.add("Softmax", [scores], node, axis=-1)
    return _heads_last(editor, editor.add("MatMul", [weights, value], node), node)


def grouped_query_attention(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns (batch, seq, heads * size).

    The heads that share keys become more rows of one product, so no key is copied.
    """
    heads = node.attributes.get_int("num_heads", 0)
    groups = node.attributes.get_int("kv_num_heads", 0)
    _refuse_hidden_masks(editor, node)
    query = _heads_first(editor, given(node, 0), heads, node)
    key, value = (_heads_first(editor, given(node, i), groups, node) for i in (1, 2))
    query = _scaled(editor, node, query, heads)
    shares = heads != groups
    if shares:
        query = editor.add("Reshape", [query, sizes(editor, 0, groups, -1, 0)], node)
    scores = editor.add("MatMul", [query, _turned(editor, key, node)], node)
    if shares:
        scores = editor.add("Reshape", [scores, sizes(editor, 0, heads, -1, 0)], node)
    cap = node.attributes.get_float("softcap", 0.0)
    if cap:
        limit = scalar_like(editor, scores, cap)
        scores = editor.add("Tanh", [editor.add("Div", [scores, limit], node)], node)
        scores = editor.add("Mul", [scores, limit], node)
    scores = editor.add("Add", [scores, given(node, _GROUPED_BIAS)], node)
    weights = _with_sinks(editor, node, scores, heads)
    if shares:
        weights = editor.add("Reshape", [weights, sizes(editor, 0, groups, -1, 0)], node)
    result = editor.add("MatMul", [weights, value], node)
    if shares:
        size = width_of(editor, given(node, 2)) // groups
        result = editor.add("Reshape", [result, sizes(editor, 0, heads, -1, size)], node)
    return _heads_last(editor, result, node)


def _with_sinks(editor: Editor, node: "ir.Node", scores: "ir.Value", heads: int) -> "ir.Value":
    """Returns the probabilities of keys; a head may have one more score, which belongs to none."""
    sinks = node.inputs[_SINKS] if len(node.inputs) > _SINKS else None
    if sinks is None:
        return editor.add("Softmax", [scores], node, axis=-1)
    apart = editor.add("Reshape", [sinks, sizes(editor, 1, heads, 1, 1)], node)
    first = [sizes(editor, n) for n in (0, 3, 0)]
    rows = editor.add("Slice", [editor.add("Shape", [scores], node), *first], node)
    shape = editor.add("Concat", [rows, sizes(editor, 1)], node, axis=0)
    column = editor.add("Expand", [apart, shape], node)
    more = editor.add("Concat", [scores, column], node, axis=-1)
    weights = editor.add("Softmax", [more], node, axis=-1)
    bounds = [sizes(editor, n) for n in (0, -1, 3)]
    return editor.add("Slice", [weights, *bounds], node)


def _refuse_hidden_masks(editor: Editor, node: "ir.Node") -> None:
    """Raises NoStandardForm if the operator itself hides keys that the bias does not hide."""
    if not is_causal(editor, given(node, _GROUPED_BIAS)):
        raise NoStandardForm("its bias does not hide later keys")
    query, last = editor.facts.shape(given(node, 0)), producer(given(node, _LAST_KEYS), "Expand")
    found = None if last is None else editor.facts.content(last.inputs[0])
    if query is None or found is None or any(size + 1 != query[1] for size in found.flat):
        raise NoStandardForm("its texts may have different lengths")


def _heads_first(editor: Editor, value: "ir.Value", heads: int, before: "ir.Node") -> "ir.Value":
    """Returns (batch, heads, seq, size)."""
    rank = editor.facts.rank(value)
    if rank == 4:
        return value
    if rank != 3:
        raise NoStandardForm("its queries, keys and values are not (batch, seq, width)")
    apart = editor.add("Reshape", [value, sizes(editor, 0, 0, heads, -1)], before)
    return editor.add("Transpose", [apart], before, perm=_HEADS_FIRST)


def _heads_last(editor: Editor, value: "ir.Value", before: "ir.Node") -> "ir.Value":
    """Returns (batch, seq, heads * size)."""
    swapped = editor.add("Transpose", [value], before, perm=_HEADS_FIRST)
    return editor.add("Reshape", [swapped, sizes(editor, 0, 0, -1)], before)


def _turned(editor: Editor, key: "ir.Value", before: "ir.Node") -> "ir.Value":
    return editor.add("Transpose", [key], before, perm=(0, 1, 3, 2))


def _scaled(editor: Editor, node: "ir.Node", query: "ir.Value", heads: int) -> "ir.Value":
    scale = node.attributes.get_float("scale", 0.0)
    if not scale:
        scale = (width_of(editor, given(node, 0)) // heads) ** -0.5
    return editor.add("Mul", [query, scalar_like(editor, query, scale)], node)
