"""Turns convolutions of width 1 into products, which quantizers and other rules know.

Needs: `Conv` over (batch, channels, seq) with a weight of width 1, without strides and padding.
Guarantees: The same numbers; groups of channels become a product each, whose weights are cut when
they are written. The Transposes around products go where they meet each other (transposes.py).
"""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir

# More groups of channels are left as they are: nearly one per channel, as in depthwise ones.
_MOST_GROUPS = 16
_SWAPPED = (0, 2, 1)


def multiply_pointwise(editor: Editor) -> bool:
    """Replaces every such convolution; returns whether there was one."""
    changed = False
    for node in editor.nodes("Conv"):
        weight = node.inputs[1]
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or not _is_pointwise(node, tensor):
            continue
        groups = node.attributes.get_int("group", 1)
        if groups > _MOST_GROUPS or tensor.shape[0] % groups:
            continue
        tokens = editor.add("Transpose", [node.inputs[0]], node, perm=_SWAPPED)
        result = _products(editor, node, tokens, weight, groups)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            result = editor.add("Add", [result, node.inputs[2]], node)
        editor.replace(node.outputs[0], editor.add("Transpose", [result], node, perm=_SWAPPED))
        changed = True
    return changed


def _is_pointwise(node: "ir.Node", tensor: "ir.TensorProtocol") -> bool:
    """Whether the convolution reads one token at a time: kernel size 1, whatever its dilations."""
    shape, attributes = tensor.shape.numpy(), node.attributes
    return (
        len(shape) == 3
        and shape[2] == 1
        and tuple(attributes.get_ints("strides", (1,))) == (1,)
        and tuple(attributes.get_ints("pads", (0, 0))) == (0, 0)
    )


def _products(
    editor: Editor, node: "ir.Node", tokens: "ir.Value", weight: "ir.Value", groups: int
) -> "ir.Value":
    """Returns the channels of each token, (batch, seq, channels), before the bias is added."""
    assert weight.const_value is not None
    tensor = weight.const_value
    inner = int(tensor.shape[1])
    results = []
    for group in range(groups):
        part = tokens
        if groups > 1:
            bounds = (group * inner, (group + 1) * inner)
            start, end, last = (editor.constant(np.array([n]), "bound") for n in (*bounds, 2))
            part = editor.add("Slice", [tokens, start, end, last], node)
        matrix = _matrix(editor, tensor, str(weight.name), group, groups)
        results.append(editor.add("MatMul", [part, matrix], node))
    return results[0] if groups == 1 else editor.add("Concat", results, node, axis=2)


def _matrix(
    editor: Editor, tensor: "ir.TensorProtocol", name: str, group: int, groups: int
) -> "ir.Value":
    """Returns a group's weights, (channels in, channels out), made when they are used."""
    import onnx_ir as ir

    rows = int(tensor.shape[0]) // groups

    def cut() -> "ir.Tensor":
        part = tensor.numpy()[group * rows : (group + 1) * rows, :, 0]
        return ir.Tensor(np.ascontiguousarray(part.T), dtype=tensor.dtype)

    shape = ir.Shape([int(tensor.shape[1]), rows])
    label = f"{name}.{group}" if groups > 1 else name
    return editor.weight(ir.LazyTensor(cut, tensor.dtype, shape=shape, name=label))
