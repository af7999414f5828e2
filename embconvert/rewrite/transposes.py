"""Removes a Transpose before an operator and the opposite one after it.

Needs: A Transpose that keeps the last axis, a product with a matrix, with or without a bias, and
the opposite Transpose; or operators that compute each element by itself, all of whose operands are
transposed. Guarantees: The same numbers: rows are multiplied independently of their order.

This saves two copies. ONNX Runtime 1.32 also crashes when it loads a graph with such a Transpose in
half precision (in its NchwcTransformer).
"""

from typing import TYPE_CHECKING

from embconvert.rewrite.editing import MICROSOFT, Editor, number, producer
from embconvert.rewrite.products import product_of
from embconvert.rewrite.shapes import permutation

if TYPE_CHECKING:
    import onnx_ir as ir

_BY_ELEMENT = {
    "": ("Add", "Sub", "Mul", "Div", "Sum", "Erf", "Relu", "Sigmoid", "Tanh"),
    MICROSOFT: ("Gelu", "QuickGelu"),
}
# Operators between two Transposes: more than a GELU has before it is fused.
_DEEPEST = 8


def multiply_untransposed(editor: Editor) -> bool:
    """Removes Transposes around products; returns whether there was one."""
    changed = False
    for back in editor.nodes("Transpose"):
        product = product_of(back.inputs[0]) if back.inputs[0] is not None else None
        transpose = producer(product.data, "Transpose") if product is not None else None
        if product is None or transpose is None:
            continue
        rank = len(permutation(transpose, 0)) or len(permutation(back, 0))
        perm, opposite = permutation(transpose, rank), permutation(back, rank)
        if tuple(perm[axis] for axis in opposite) != tuple(range(rank)) or perm[-1] != rank - 1:
            continue
        output = editor.add("MatMul", [transpose.inputs[0], product.weights], back)
        if product.bias is not None:
            output = editor.add("Add", [output, product.bias], back)
        editor.replace(back.outputs[0], output)
        changed = True
    return changed


def compute_untransposed(editor: Editor) -> bool:
    """Removes Transposes around operators on each element; returns whether there was one."""
    changed = False
    for back in editor.nodes("Transpose"):
        value = back.inputs[0]
        rank = editor.facts.rank(value)
        if value is None or rank is None or value.producer() is None:
            continue
        there = _opposite(permutation(back, rank))
        if producer(value, "Transpose") is None and _is_transposed(editor, value, there, _DEEPEST):
            editor.replace(back.outputs[0], _untransposed(editor, value, back))
            changed = True
    return changed


def _opposite(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=lambda axis: order[axis]))


def _is_transposed(
    editor: Editor, value: "ir.Value | None", there: tuple[int, ...], depth: int
) -> bool:
    """Whether a value is made by this Transpose, and operators that are used for nothing else."""
    node = value.producer() if value is not None else None
    if value is None or node is None or editor.facts.rank(value) != len(there):
        return False
    if node.op_type == "Transpose":
        return permutation(node, len(there)) == there
    if node.op_type not in _BY_ELEMENT.get(node.domain, ()) or len(value.uses()) != 1 or not depth:
        return False
    operands = [v for v in node.inputs if v is not None and number(v) is None]
    return bool(operands) and all(_is_transposed(editor, v, there, depth - 1) for v in operands)


def _untransposed(editor: Editor, value: "ir.Value", back: "ir.Node") -> "ir.Value":
    """Returns the same value of operands without Transposes."""
    node = value.producer()
    assert node is not None
    if node.op_type == "Transpose":
        assert node.inputs[0] is not None
        return node.inputs[0]
    inputs = [
        _untransposed(editor, v, back) if v is not None and number(v) is None else v
        for v in node.inputs
    ]
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    return editor.add(node.op_type, inputs, back, domain=node.domain, **attributes)
