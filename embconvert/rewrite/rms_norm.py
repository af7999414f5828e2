"""Fuses RMSNorm into one operator.

Needs: `w * x / sqrt(mean(x^2) + epsilon)`, as a quotient or a product with a reciprocal, over the
last axis; `w` is a constant vector, or there is none. Guarantees: The same function,
`SimplifiedLayerNormalization`.

`SkipSimplifiedLayerNormalization`, which includes a residual, is not used: it takes 1.2 to 1.7
times as long on ONNX Runtime 1.32's CPU provider as an Add before this operator
(benchmarks/README.md).
"""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import (
    Editor,
    is_close,
    is_vector,
    number,
    only_user,
    operands,
    producer,
)
from embconvert.rewrite.shapes import axes_of

if TYPE_CHECKING:
    import onnx_ir as ir

# A vector of ones is stored in the graph.
_WIDEST = 1 << 14


def fuse_rms_norm(editor: Editor) -> bool:
    """Fuses every RMSNorm; returns whether there was one."""
    changed = False
    for mean in editor.nodes("ReduceMean"):
        x = _squared(mean.inputs[0])
        rank = editor.facts.rank(x)
        if x is None or rank is None or axes_of(editor.facts, mean) not in ([-1], [rank - 1]):
            continue
        found = _normalized(x, mean)
        if found is None:
            continue
        output, epsilon = found
        scaled = _scaled(editor, output, x) or _unscaled(editor, output, x)
        if scaled is None:
            continue
        last = scaled[0].producer()
        assert last is not None
        fused = editor.add(
            "SimplifiedLayerNormalization", [x, scaled[1]], last, axis=-1, epsilon=epsilon
        )
        editor.replace(scaled[0], fused)
        changed = True
    return changed


def _squared(value: "ir.Value | None") -> "ir.Value | None":
    node = producer(value, "Pow", "Mul")
    if node is None:
        return None
    if node.op_type == "Pow":
        return node.inputs[0] if is_close(node.inputs[1], 2.0) else None
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _normalized(x: "ir.Value", mean: "ir.Node") -> "tuple[ir.Value, float] | None":
    """Returns `x / sqrt(mean + epsilon)`, and epsilon."""
    add = only_user(mean.outputs[0], "Add")
    if add is None:
        return None
    epsilon = next((e for _, by in operands(add) if (e := number(by)) is not None), None)
    root = only_user(add.outputs[0], "Sqrt", "Pow")
    if epsilon is None or root is None:
        return None
    user = only_user(root.outputs[0], "Div", "Reciprocal", "Mul")
    if root.op_type == "Pow":
        if not is_close(root.inputs[1], -0.5):
            return None
        inverse = root.outputs[0]
    elif user is None or user.op_type == "Mul":
        return None
    elif user.op_type == "Div" and user.inputs[0] is x:
        return user.outputs[0], epsilon
    elif user.op_type == "Div" and not is_close(user.inputs[0], 1.0):
        return None
    else:
        inverse = user.outputs[0]
    product = only_user(inverse, "Mul")
    if product is None or x not in product.inputs:
        return None
    return product.outputs[0], epsilon


def _scaled(editor: Editor, value: "ir.Value", x: "ir.Value") -> "tuple[ir.Value, ir.Value] | None":
    """Returns `w * value` and w."""
    user = only_user(value, "Mul")
    shape = editor.facts.shape(x)
    if user is None:
        return None
    for weight, normalized in operands(user):
        if normalized is value and is_vector(weight, shape):
            return user.outputs[0], weight
    return None


def _unscaled(
    editor: Editor, value: "ir.Value", x: "ir.Value"
) -> "tuple[ir.Value, ir.Value] | None":
    """Returns the value and a vector of ones, of a norm without weights."""
    import onnx_ir as ir

    shape = editor.facts.shape(x)
    width = shape[-1].number if shape else None
    if width is None or width > _WIDEST or editor.facts.dtype(x) is not ir.DataType.FLOAT:
        return None
    return value, editor.constant(np.ones(width, np.float32), "ones")
