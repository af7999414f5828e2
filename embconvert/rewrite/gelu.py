"""Fuses GELU (exact or by tanh), with a preceding bias, into one operator.

Needs: `x * 0.5 * (1 + erf(x / sqrt(2)))`, or `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 *
x^3)))`, in any order. Guarantees: The same function: `Gelu` or `BiasGelu` for the first, `FastGelu`
for the second.

Source of the formulas: https://arxiv.org/abs/1606.08415
"""

import math
from typing import TYPE_CHECKING

from embconvert.rewrite.editing import (
    MICROSOFT,
    Editor,
    is_close,
    is_vector,
    number,
    only_user,
    operands,
    producer,
)

if TYPE_CHECKING:
    import onnx_ir as ir


def fuse_gelu(editor: Editor) -> bool:
    """Fuses every GELU; returns whether there was one."""
    changed = False
    for node in editor.nodes("Erf", "Tanh"):
        inner = node.inputs[0]
        x = _of_erf(inner) if node.op_type == "Erf" else _of_tanh(inner)
        output = _half_of(node.outputs[0], x) if x is not None else None
        last = output.producer() if output is not None else None
        if x is None or output is None or last is None:
            continue
        exact = node.op_type == "Erf"
        biased = _biased(editor, x)
        kind = ("BiasGelu" if biased else "Gelu") if exact else "FastGelu"
        fused = editor.add(kind, biased or [x], last, domain=MICROSOFT)
        editor.replace(output, fused)
        changed = True
    return changed


def is_gelu(value: "ir.Value | None") -> bool:
    """Whether a value is a GELU in other operators: `x * 0.5 * (1 + gate)`, in any order."""
    factors: list[ir.Value | None] = []
    waiting: list[ir.Value | None] = [value]
    while waiting:
        factor = waiting.pop()
        product = producer(factor, "Mul")
        if product is not None and len(factors) + len(waiting) < 3:
            waiting += product.inputs
        else:
            factors.append(factor)
    for add in (producer(factor, "Add") for factor in factors):
        for gate, by in operands(add) if add is not None else ():
            node = producer(gate, "Erf", "Tanh")
            if node is None or not is_close(by, 1.0):
                continue
            x = _of_erf(node.inputs[0]) if node.op_type == "Erf" else _of_tanh(node.inputs[0])
            return x in factors and any(is_close(factor, 0.5) for factor in factors)
    return False


def _of_erf(value: "ir.Value | None") -> "ir.Value | None":
    """Returns x of `x / sqrt(2)`."""
    node = producer(value, "Mul", "Div")
    if node is None:
        return None
    if node.op_type == "Div":
        return node.inputs[0] if is_close(node.inputs[1], math.sqrt(2)) else None
    return next((x for x, by in operands(node) if is_close(by, math.sqrt(0.5))), None)


def _of_tanh(value: "ir.Value | None") -> "ir.Value | None":
    """Returns x of `sqrt(2 / pi) * (x + 0.044715 * x^3)`."""
    node = producer(value, "Mul")
    if node is None:
        return None
    for total, by in operands(node):
        add = producer(total, "Add") if is_close(by, math.sqrt(2 / math.pi)) else None
        for x, cubic in operands(add) if add is not None else ():
            if _is_cubic(cubic, x):
                return x
    return None


def _is_cubic(value: "ir.Value", x: "ir.Value") -> bool:
    """Whether a value is `0.044715 * x^3`, multiplied in any order."""
    factors, powers = [value], 0
    scale = 1.0
    while factors:
        factor = factors.pop()
        node = producer(factor, "Mul", "Pow")
        by = number(factor)
        if factor is x:
            powers += 1
        elif by is not None:
            scale *= by
        elif node is None:
            return False
        elif node.op_type == "Pow":
            exponent = number(node.inputs[1])
            if node.inputs[0] is not x or exponent not in (2.0, 3.0):
                return False
            powers += int(exponent)
        else:
            factors += [v for v in node.inputs if v is not None]
    return powers == 3 and abs(scale - 0.044715) < 1e-6


def _half_of(value: "ir.Value", x: "ir.Value") -> "ir.Value | None":
    """Returns the output of `0.5 * x * (1 + value)`, multiplied in any order."""
    add = only_user(value, "Add")
    if add is None or not any(is_close(by, 1.0) for by in add.inputs):
        return None
    product, seen_half, seen_x = add.outputs[0], False, False
    while not (seen_half and seen_x):
        user = only_user(product, "Mul")
        if user is None:
            return None
        other = user.inputs[0] if user.inputs[1] is product else user.inputs[1]
        halved = producer(other, "Mul")
        if other is x:
            seen_x = True
        elif is_close(other, 0.5):
            seen_half = True
        elif halved is not None and any(v is x and is_close(by, 0.5) for v, by in operands(halved)):
            seen_x = seen_half = True
        else:
            return None
        product = user.outputs[0]
    return product


def _biased(editor: Editor, x: "ir.Value") -> "list[ir.Value] | None":
    """Returns the two terms of x, if it is the sum of a value and a bias."""
    add = producer(x, "Add")
    if add is None or x.is_graph_output() or len({use.node for use in x.uses()}) > 2:
        return None
    shape = editor.facts.shape(x)
    for value, bias in operands(add):
        if is_vector(bias, shape):
            return [value, bias]
    return None
