"""Activation functions in operators of ONNX 13.

Their forms are those that ONNX Runtime and OpenVINO recognize and fuse when they load a graph.
"""

import math
from typing import TYPE_CHECKING

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.standard.values import scalar_like

if TYPE_CHECKING:
    import onnx_ir as ir


def gelu(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns `x * 0.5 * (1 + erf(x / sqrt(2)))`, of x plus a bias if there is one."""
    x = _biased(editor, node)
    scaled = editor.add("Div", [x, scalar_like(editor, x, math.sqrt(2))], node)
    return _gated(editor, x, editor.add("Erf", [scaled], node), node)


def fast_gelu(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns `x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`."""
    x = _biased(editor, node)
    cubed = editor.add("Pow", [x, scalar_like(editor, x, 3)], node)
    small = editor.add("Mul", [cubed, scalar_like(editor, x, 0.044715)], node)
    total = editor.add("Add", [x, small], node)
    scaled = editor.add("Mul", [total, scalar_like(editor, x, math.sqrt(2 / math.pi))], node)
    return _gated(editor, x, editor.add("Tanh", [scaled], node), node)


def quick_gelu(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns `x * sigmoid(alpha * x)`."""
    x = node.inputs[0]
    assert x is not None
    alpha = node.attributes.get_float("alpha", 1.702)
    scaled = x if alpha == 1 else editor.add("Mul", [x, scalar_like(editor, x, alpha)], node)
    return editor.add("Mul", [x, editor.add("Sigmoid", [scaled], node)], node)


def _biased(editor: Editor, node: "ir.Node") -> "ir.Value":
    x = node.inputs[0]
    assert x is not None
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return x
    return editor.add("Add", [x, node.inputs[1]], node)


def _gated(editor: Editor, x: "ir.Value", gate: "ir.Value", node: "ir.Node") -> "ir.Value":
    raised = editor.add("Add", [gate, scalar_like(editor, x, 1)], node)
    product = editor.add("Mul", [x, raised], node)
    return editor.add("Mul", [product, scalar_like(editor, x, 0.5)], node)
