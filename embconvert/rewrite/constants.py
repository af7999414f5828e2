"""What depends on no input is computed now.

Needs: Nothing.
Guarantees: The same numbers. Large weights are not touched, nor computed with.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

#: Bytes of the largest constant that is read or made: vectors, no matrices of weights.
LIMIT_BYTES = 1 << 16


def fold_constants(editor: Editor) -> bool:
    """Replaces what is computed of constants, and of sizes that are fixed, by constants."""
    changed = False
    for node in list(editor.graph):
        changed |= _fold_known(editor, node) or _fold_computed(editor, node)
    return changed


def _fold_known(editor: Editor, node: "ir.Node") -> bool:
    """Replaces a value that the analysis of sizes has found out."""
    import onnx_ir as ir

    if len(node.outputs) != 1 or node.outputs[0].is_graph_output():
        return False
    content = editor.facts.content(node.outputs[0])
    kind = editor.facts.dtype(node.outputs[0])
    if content is None or kind is None or not node.outputs[0].uses():
        return False
    numbers = [item.number if isinstance(item, Size) else item for item in content.flat]
    if None in numbers or not (kind.is_integer() or kind in (ir.DataType.FLOAT, ir.DataType.BOOL)):
        return False
    array = np.array(numbers, kind.numpy()).reshape(content.shape)
    editor.replace(node.outputs[0], editor.constant(array, _name(node)))
    return True


def _fold_computed(editor: Editor, node: "ir.Node") -> bool:
    """Runs a node whose inputs are all constants."""
    inputs = [value for value in node.inputs if value is not None]
    if len(node.outputs) != 1 or node.domain or not node.outputs[0].uses():
        return False
    tensors = [value.const_value for value in inputs]
    if not inputs or any(t is None or t.nbytes > LIMIT_BYTES for t in tensors):
        return False
    if node.outputs[0].is_graph_output() or node.op_type.startswith("Random"):
        return False
    result = _run(editor, node)
    if result is None or result.nbytes > LIMIT_BYTES:
        return False
    editor.replace(node.outputs[0], editor.constant(result, _name(node)))
    return True


def _name(node: "ir.Node") -> str:
    return str(node.outputs[0].name)


def _run(editor: Editor, node: "ir.Node") -> Any:
    """Runs one node with ONNX's reference implementation; None when it has none."""
    import onnx
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    proto = ir.to_proto(node)
    feed = {str(v.name): v.const_value.numpy() for v in node.inputs if v is not None}
    infos = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feed.items()
    ]
    output = onnx.helper.make_tensor_value_info(str(node.outputs[0].name), 0, None)
    graph = onnx.helper.make_graph([proto], "folded", infos, [output])
    opsets = [onnx.helper.make_opsetid("", editor.opset)]
    try:
        (result,) = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(
            None, feed
        )
    except Exception:  # noqa: BLE001 - whatever it can't run stays in the graph
        return None
    return np.asarray(result)
