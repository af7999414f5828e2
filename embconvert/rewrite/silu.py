"""Fuses x * sigmoid(a * x), the gate of SwiGLU and the quick GELU, into one operator.

Needs: This product; `a` is a number, 1 for SiLU. Guarantees: The same function, `QuickGelu`.
"""

from embconvert.rewrite.editing import MICROSOFT, Editor, number, operands, producer


def fuse_silu(editor: Editor) -> bool:
    """Fuses every SiLU; returns whether there was one."""
    changed = False
    for node in editor.nodes("Mul"):
        for x, gate in operands(node):
            sigmoid = producer(gate, "Sigmoid")
            inner = sigmoid.inputs[0] if sigmoid is not None else None
            alpha = 1.0
            scaled = producer(inner, "Mul")
            if inner is not x and scaled is not None:
                known = [(v, number(by)) for v, by in operands(scaled)]
                inner, alpha = next(((v, a) for v, a in known if a is not None), (None, 1.0))
            if inner is not x:
                continue
            fused = editor.add("QuickGelu", [x], node, domain=MICROSOFT, alpha=alpha)
            editor.replace(node.outputs[0], fused)
            changed = True
            break
    return changed
