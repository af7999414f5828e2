"""Rotary position embedding in operators of ONNX 13."""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.standard.values import NoStandardForm, given, sizes, width_of

if TYPE_CHECKING:
    import onnx_ir as ir


def rotary_embedding(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns x with the two halves of each head rotated; x has three axes, or heads first."""
    x, positions, *tables = (given(node, index) for index in range(4))
    half = width_of(editor, tables[0])
    rank = editor.facts.rank(x)
    if rank == 3:
        apart = editor.add("Reshape", [x, sizes(editor, 0, 0, -1, 2 * half)], node)
    elif rank == 4 and width_of(editor, x) == 2 * half:
        apart = x
    else:
        raise NoStandardForm("it rotates a part of each head")
    # Heads are the third axis, or the second one.
    over_heads = sizes(editor, 2 if rank == 3 else 1)
    cos, sin = (_factor(editor, t, positions, apart, rank, over_heads, node) for t in tables)
    first, second = (_part(editor, apart, start, start + half, node) for start in (0, half))
    turned = []
    for kind, a, b in (("Sub", first, second), ("Add", second, first)):
        products = [editor.add("Mul", [v, by], node) for v, by in ((a, cos), (b, sin))]
        turned.append(editor.add(kind, products, node))
    result = editor.add("Concat", turned, node, axis=-1)
    return result if rank == 4 else editor.add("Reshape", [result, sizes(editor, 0, 0, -1)], node)


def _factor(
    editor: Editor,
    table: "ir.Value",
    positions: "ir.Value",
    x: "ir.Value",
    rank: int,
    over_heads: "ir.Value",
    before: "ir.Node",
) -> "ir.Value":
    """Returns the rows of a table at the tokens' positions, broadcastable to x."""
    first = editor.facts.content(positions)
    if editor.facts.rank(positions) == 2:
        rows = editor.add("Gather", [table, positions], before, axis=0)
    elif first is not None and [size.number for size in first.flat] == [0]:
        rows = _first_rows(editor, table, x, 1 if rank == 3 else 2, before)
    else:
        raise NoStandardForm("the first position of its texts is unknown")
    return editor.add("Unsqueeze", [rows, over_heads], before)


def _first_rows(
    editor: Editor, table: "ir.Value", x: "ir.Value", axis: int, before: "ir.Node"
) -> "ir.Value":
    """Returns (1, seq, half) for a table that may have more rows."""
    lead = sizes(editor, 0)
    known, wanted = editor.facts.shape(table), editor.facts.shape(x)
    if known is None or wanted is None or known[0] != wanted[axis]:
        length = editor.add(
            "Gather", [editor.add("Shape", [x], before), sizes(editor, axis)], before
        )
        table = editor.add("Slice", [table, sizes(editor, 0), length, sizes(editor, 0)], before)
    return editor.add("Unsqueeze", [table, lead], before)


def _part(editor: Editor, value: "ir.Value", start: int, end: int, before: "ir.Node") -> "ir.Value":
    bounds = [editor.constant(np.array([n], np.int64), "bound") for n in (start, end, -1)]
    return editor.add("Slice", [value, *bounds], before)
