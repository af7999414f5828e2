"""Performs a lookup with equal indices for all tokens once.

Needs: `Gather` of rows by equal indices, such as token types that the model creates itself, or from
a table with one row. Guarantees: The same numbers after broadcasting.
"""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.constants import LIMIT_BYTES
from embconvert.rewrite.editing import Editor, Unreadable
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

# Their output only has elements of their first input.
_PICKS = ("Expand", "GatherElements", "Slice", "Reshape", "Unsqueeze", "Squeeze", "Gather",
          "Transpose", "Cast", "Identity")  # fmt: skip


def look_up_rows_once(editor: Editor) -> bool:
    """Replaces such lookups; returns whether there was one."""
    changed = False
    for node in editor.nodes("Gather"):
        table, indices = editor.facts.shape(node.inputs[0]), editor.facts.shape(node.inputs[1])
        if table is None or len(table) != 2 or indices is None or len(indices) != 2:
            continue
        # A single index, as this rule writes it, or few: nothing to save.
        if node.attributes.get_int("axis", 0) != 0 or all(s.number is not None for s in indices):
            continue
        row = 0 if table[0].number == 1 else _only_number(node.inputs[1])
        if row is None:
            continue
        try:
            shape = editor.sizes((*indices, Size.of(1)), node)
        except Unreadable:
            continue
        index = editor.constant(np.array([[row]], np.int64), "row")
        found = editor.add("Gather", [node.inputs[0], index], node, axis=0)
        editor.replace(node.outputs[0], editor.add("Expand", [found, shape], node))
        changed = True
    return changed


def _only_number(value: "ir.Value | None") -> int | None:
    """Returns the value of all elements of a tensor, or None if they may differ."""
    if value is None:
        return None
    tensor = value.const_value
    if tensor is not None:
        if tensor.size == 0 or tensor.nbytes > LIMIT_BYTES or not tensor.dtype.is_integer():
            return None
        array = tensor.numpy()
        return int(array.flat[0]) if (array == array.flat[0]).all() else None
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        known = fill is not None and fill.as_tensor().dtype.is_integer()
        return int(fill.as_tensor().numpy().item()) if fill is not None and known else None
    return _only_number(node.inputs[0]) if node.op_type in _PICKS else None
