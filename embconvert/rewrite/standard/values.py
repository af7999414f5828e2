"""Small values that the standard forms need, and the refusal of a node without such a form."""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir


class NoStandardForm(Exception):  # noqa: N818 - names what the node lacks
    """A node cannot be written in standard operators; the message says why."""


def floats_of(editor: Editor, x: "ir.Value") -> "ir.DataType":
    """Returns the floating-point type of a tensor; float32 if it is unknown."""
    import onnx_ir as ir

    found = editor.facts.dtype(x)
    return found if found is not None and found.is_floating_point() else ir.DataType.FLOAT


def scalar_like(editor: Editor, x: "ir.Value", number: float) -> "ir.Value":
    """Returns a constant of the type of a tensor."""
    return editor.constant(np.array(number, floats_of(editor, x).numpy()), "number")


def sizes(editor: Editor, *numbers: int) -> "ir.Value":
    """Returns a constant shape; in a Reshape, 0 keeps a size and -1 stands for the rest."""
    return editor.constant(np.array(numbers, np.int64), "sizes")


def given(node: "ir.Node", index: int) -> "ir.Value":
    """Returns an input of a node; raises NoStandardForm without it."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise NoStandardForm(f"it has no input {index}")
    return value


def width_of(editor: Editor, value: "ir.Value") -> int:
    """Returns the size of a tensor's last axis; raises NoStandardForm if it is unknown."""
    shape = editor.facts.shape(value)
    width = shape[-1].number if shape else None
    if width is None:
        raise NoStandardForm("the sizes of its inputs are unknown")
    return width
