"""Moves a padding mask into an additional component of queries and keys.

Needs: `MultiHeadAttention` whose bias is only a mask of keys: 0 or a very low number, the same for
all heads and queries. Guarantees: The same function. The new component is 1 for queries and the
mask for keys, so that their product adds the mask to the score. A row of only padding attends to
all keys equally, as before.

Without a bias, ONNX Runtime's CPU kernel keeps the scores in the cache, block by block ("flash
attention", https://arxiv.org/abs/2205.14135); with a bias, it writes and reads all of them. Other
providers have fast kernels for biases, but not for keys and values of different sizes, so the rule
is for the CPU.
"""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import MICROSOFT, Editor, number, producer

if TYPE_CHECKING:
    import onnx_ir as ir

# The scale reduces the mask, which must remain below any score.
_LOWEST = -1e30
_BIAS = 5


def move_padding_into_heads(editor: Editor) -> bool:
    """Rewrites every attention whose bias is a padding mask; returns whether there was one."""
    changed = False
    for node in editor.nodes("MultiHeadAttention"):
        mask = _mask(editor, node)
        if mask is None:
            continue
        editor.replace(node.outputs[0], _build(editor, node, mask))
        changed = True
    return changed


def _mask(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    """Returns the bias as (batch, 1, 1, keys), or None if it is not a mask."""
    inputs = node.inputs
    if len(inputs) != _BIAS + 1 or any(value is not None for value in inputs[3:_BIAS]):
        return None
    if any(editor.facts.rank(value) != 3 for value in inputs[:3]):
        return None
    if not 0 < node.attributes.get_float("scale", 0.0) <= 1:
        return None
    expand = producer(inputs[_BIAS], "Expand")
    where = producer(expand.inputs[0], "Where") if expand is not None else None
    if where is None:
        return None
    shape, query = editor.facts.shape(where.outputs[0]), editor.facts.shape(inputs[0])
    if shape is None or query is None or len(shape) != 4 or shape[0] != query[0]:
        return None
    fill = number(where.inputs[2])
    masks = number(where.inputs[1]) == 0 and fill is not None and fill <= _LOWEST
    return where.outputs[0] if masks and shape[1].number == shape[2].number == 1 else None


def _build(editor: Editor, node: "ir.Node", mask: "ir.Value") -> "ir.Value":
    import onnx_ir as ir

    heads = node.attributes.get_int("num_heads", 0)
    width = editor.facts.shape(node.inputs[0])
    assert width is not None and width[2].number is not None
    size = width[2].number // heads

    def sizes(*numbers: int) -> "ir.Value":
        return editor.constant(np.array(numbers, np.int64), "sizes")

    row = editor.add("Reshape", [mask, sizes(0, -1, 1, 1)], node)
    keys = editor.add("Expand", [row, sizes(1, 1, heads, 1)], node)
    ones = ir.tensor(np.array([1], np.float32))
    queries = editor.add("ConstantOfShape", [editor.add("Shape", [keys], node)], node, value=ones)
    widened = []
    for value, column in ((node.inputs[0], queries), (node.inputs[1], keys)):
        apart = editor.add("Reshape", [value, sizes(0, 0, heads, size)], node)
        wider = editor.add("Concat", [apart, column], node, axis=-1)
        widened.append(editor.add("Reshape", [wider, sizes(0, 0, heads * (size + 1))], node))
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    inputs = [*widened, node.inputs[2]]
    return editor.add("MultiHeadAttention", inputs, node, domain=MICROSOFT, **attributes)
