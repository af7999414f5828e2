"""Folds expressions that depend on no input.

Needs: Nothing. Guarantees: The same numbers. Large weights are neither changed nor used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

#: Maximum bytes of constants that are read or created: vectors, but not weight matrices.
LIMIT_BYTES = 1 << 16


def _elements(arrays: Sequence[Any]) -> int:
    return sum(array.size for array in arrays)


def _broadcast(arrays: Sequence[Any]) -> int:
    return int(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))


def _expanded(arrays: Sequence[Any]) -> int:
    shape = tuple(int(size) for size in arrays[1])
    return int(math.prod(np.broadcast_shapes(arrays[0].shape, shape)))


def _counted(arrays: Sequence[Any]) -> int:
    start, limit, delta = (float(array.item()) for array in arrays)
    return max(0, math.ceil((limit - start) / delta))


def _multiplied(arrays: Sequence[Any]) -> int:
    first, second = arrays
    # At most one element for each row of the first and column of the second operand.
    rows, columns = (first.size // max(1, first.shape[-1])), second.size // second.shape[-2:][0]
    return int(rows * columns)


def _looked_up(arrays: Sequence[Any]) -> int:
    data, indices = arrays
    return int(data.size // min(data.shape) * indices.size)


def _filled(arrays: Sequence[Any]) -> int:
    return math.prod(map(int, arrays[0]))


def _tiled(arrays: Sequence[Any]) -> int:
    return int(arrays[0].size) * math.prod(map(int, arrays[1]))


# The foldable operators, and an upper limit of their output's elements. Others stay in the graph: a
# Loop may not terminate, and an Einsum of small tensors may take hours.
_MOST_ELEMENTS: Mapping[str, Callable[[Sequence[Any]], int]] = {
    **dict.fromkeys(
        (
            "Reshape", "Slice", "Transpose", "Unsqueeze", "Squeeze", "Concat", "Cast", "Identity",
            "Sqrt", "Neg", "Abs", "Exp", "Log", "Cos", "Sin", "Tanh", "Erf", "Sigmoid", "Relu",
            "Reciprocal", "Floor", "Ceil", "Not", "Softmax", "LayerNormalization", "Trilu",
            "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "Shape",
            "Size", "ScatterND", "ScatterElements", "GatherElements", "CumSum", "Clip", "Sign",
            "Round", "IsNaN", "IsInf", "Flatten",
        ),
        _elements,
    ),
    **dict.fromkeys(
        (
            "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "And", "Or", "Equal", "Less",
            "LessOrEqual", "Greater", "GreaterOrEqual", "Where", "Xor", "Sum",
        ),
        _broadcast,
    ),
    "Expand": _expanded, "Range": _counted, "MatMul": _multiplied, "Gather": _looked_up,
    "ConstantOfShape": _filled, "Tile": _tiled,
}  # fmt: skip


def fold_constants(editor: Editor) -> bool:
    """Replaces values computed from constants or fixed sizes by constants."""
    changed = False
    for node in list(editor.graph):
        changed |= _fold_known(editor, node) or _fold_computed(editor, node)
    return changed


def _fold_known(editor: Editor, node: "ir.Node") -> bool:
    """Replaces a value that size inference has determined."""
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
    """Evaluates a node whose inputs are all constants."""
    inputs = [value for value in node.inputs if value is not None]
    if len(node.outputs) != 1 or node.domain or not node.outputs[0].uses():
        return False
    tensors = [value.const_value for value in inputs]
    if not inputs or any(t is None or t.nbytes > LIMIT_BYTES for t in tensors):
        return False
    if node.outputs[0].is_graph_output() or not _is_small(node, [t.numpy() for t in tensors]):
        return False
    result = _run(editor, node)
    if result is None or result.nbytes > LIMIT_BYTES:
        return False
    editor.replace(node.outputs[0], editor.constant(result, _name(node)))
    return True


def _is_small(node: "ir.Node", arrays: Sequence[Any]) -> bool:
    """Whether a node is foldable and its output small."""
    try:
        return _MOST_ELEMENTS[node.op_type](arrays) <= LIMIT_BYTES
    except (KeyError, ValueError, TypeError, IndexError, ArithmeticError):
        return False


def _name(node: "ir.Node") -> str:
    return str(node.outputs[0].name)


def _run(editor: Editor, node: "ir.Node") -> Any:
    """Evaluates a node with ONNX's reference implementation; None if it has none."""
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
    except Exception:  # noqa: BLE001 - a node that it cannot run stays in the graph
        return None
    return np.asarray(result)
