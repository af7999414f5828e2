"""RMSNorm, and norms that include a residual, in operators of ONNX 17."""

from typing import TYPE_CHECKING

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.standard.values import floats_of, given, scalar_like, sizes

if TYPE_CHECKING:
    import onnx_ir as ir


def rms_norm(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns `w * x / sqrt(mean(x^2) + epsilon)`."""
    return _rms_norm(editor, node, given(node, 0), given(node, 1))


def skip_rms_norm(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns the norm of a sum of two values and perhaps a bias."""
    return _rms_norm(editor, node, _total(editor, node, 3), given(node, 2))


def skip_layer_norm(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns the norm of a sum of two values and perhaps a bias."""
    parts = [_total(editor, node, 4), given(node, 2)]
    parts += [v for v in node.inputs[3:4] if v is not None]
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    return editor.add("LayerNormalization", parts, node, axis=-1, epsilon=epsilon)


def _total(editor: Editor, node: "ir.Node", bias: int) -> "ir.Value":
    total = editor.add("Add", [given(node, 0), given(node, 1)], node)
    if len(node.inputs) > bias and node.inputs[bias] is not None:
        total = editor.add("Add", [total, node.inputs[bias]], node)
    return total


def _rms_norm(editor: Editor, node: "ir.Node", x: "ir.Value", weight: "ir.Value") -> "ir.Value":
    import onnx_ir as ir

    dtype = floats_of(editor, x)
    wide = dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
    if not wide:  # as the operator: squares leave the range of half precision
        x = editor.add("Cast", [x], node, to=int(ir.DataType.FLOAT))
    squared = editor.add("Pow", [x, scalar_like(editor, x, 2)], node)
    mean = _mean(editor, squared, node)
    epsilon = scalar_like(editor, x, node.attributes.get_float("epsilon", 1e-5))
    root = editor.add("Sqrt", [editor.add("Add", [mean, epsilon], node)], node)
    normalized = editor.add("Div", [x, root], node)
    if not wide:
        normalized = editor.add("Cast", [normalized], node, to=int(dtype))
    return editor.add("Mul", [normalized, weight], node)


def _mean(editor: Editor, value: "ir.Value", before: "ir.Node") -> "ir.Value":
    """Returns the mean over the last axis, which is kept; opset 18 made axes an input."""
    if editor.opset >= 18:
        return editor.add("ReduceMean", [value, sizes(editor, -1)], before, keepdims=1)
    return editor.add("ReduceMean", [value], before, axes=[-1], keepdims=1)
