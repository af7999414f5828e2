"""The weights of a traced graph: those of the source, read when they are written.

The tracer leaves them as inputs of the graph, some behind a node that renames or transposes them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError
from embconvert.graph.source_tensors import mark, marked, place_of, transposed
from embconvert.processes.mappings import MappedRange, mapped_ranges

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch


def bind_weights(model: "ir.Model", weights: "Mapping[str, torch.Tensor]") -> list[str]:
    """Turns the graph inputs that are weights into initializers; returns their names.

    The tensors stay those of the source model. Names become those of the checkpoint.
    """
    import onnx_ir as ir

    graph = model.graph
    for value in [v for v in graph.inputs if v.name in weights]:
        graph.inputs.remove(value)
        graph.initializers.add(value)
    files = list(mapped_ranges(".safetensors"))
    for name, value in graph.initializers.items():
        if name in weights:
            value.const_value = _lazy_weight(name, weights[name], files)
    used = [name for name, value in graph.initializers.items() if name in weights and value.uses()]
    taken = set(graph.initializers) | {
        v.name for v in ir.traversal.RecursiveGraphIterator(graph) for v in v.outputs
    }
    for name in [n for n in graph.initializers if n in weights]:
        short = name.split(".", 3)[-1]
        if short not in taken:
            taken.add(short)
            graph.initializers[name].name = short
    return used


def _lazy_weight(
    name: str, stored: "torch.Tensor", files: Sequence[MappedRange]
) -> "ir.TensorProtocol":
    """Returns a weight that is read, checked and cast to float32 when it is looked at.

    Args:
        name: Of the weight.
        stored: As the source has it.
        files: Where it may be mapped from.
    """
    import onnx_ir as ir
    from onnx_ir.tensor_adapters import TorchTensor

    def read() -> "ir.Tensor":
        # isfinite() would make copies of the whole tensor; extremes carry what isn't finite along.
        if stored.numel() and not all(extreme.isfinite() for extreme in stored.aminmax()):
            raise SourceError(
                f"the weight {name.split('.', 3)[-1]} has values that are not finite",
                "download the model again",
            )
        return ir.Tensor(stored.float().cpu().numpy(), name=name)

    if not stored.is_floating_point():
        return TorchTensor(stored.cpu(), name=name)
    shape = ir.Shape(stored.shape)
    lazy = ir.LazyTensor(read, ir.DataType.FLOAT, shape=shape, name=name)
    return mark(lazy, place_of(stored, files))


def drop_renamed_weights(model: "ir.Model") -> None:
    """Removes Identity(weight), which the tracer writes for weights of equal value."""
    import onnx_ir as ir

    outputs = set(model.graph.outputs)
    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Identity" else None
        if weight is None or not weight.is_initializer() or node.outputs[0] in outputs:
            continue
        ir.convenience.replace_all_uses_with(node.outputs[0], weight)
        model.graph.remove(node, safe=True)


def fold_transposed_weights(model: "ir.Model") -> None:
    """Replaces Transpose(weight) by a weight that is transposed when it is written.

    A weight that several nodes transpose alike, as those of a layer that runs again and again, is
    written once.
    """
    import onnx_ir as ir

    graph = model.graph
    found: dict[tuple[ir.Value, tuple[int, ...]], list[ir.Node]] = {}
    for node in graph:
        weight = node.inputs[0] if node.op_type == "Transpose" and node.inputs else None
        if weight is None or not weight.is_initializer() or weight.const_value is None:
            continue
        axes = tuple(range(len(weight.const_value.shape)))[::-1]
        permutation = tuple(node.attributes.get_ints("perm", axes))
        found.setdefault((weight, permutation), []).append(node)
    for (weight, permutation), nodes in found.items():
        alone = len(weight.uses()) == len(nodes)
        name = str(weight.name) if alone else f"{weight.name}.transposed_{nodes[0].outputs[0].name}"
        folded = _transposed(weight.const_value, permutation, name)
        for node in nodes:
            ir.convenience.replace_all_uses_with(node.outputs[0], folded)
            graph.remove(node, safe=True)
        if alone:
            graph.initializers.pop(name)
        graph.register_initializer(folded)


def _transposed(tensor: Any, permutation: tuple[int, ...], name: str) -> "ir.Value":
    """Returns a weight whose axes are permuted when it is looked at."""
    import numpy as np
    import onnx_ir as ir

    def transpose() -> "ir.Tensor":
        return ir.Tensor(np.transpose(tensor.numpy(), permutation), dtype=tensor.dtype)

    shape = ir.Shape([tensor.shape[axis] for axis in permutation])
    lazy = ir.LazyTensor(transpose, tensor.dtype, shape=shape, name=name)
    mark(lazy, transposed(marked(tensor), permutation))
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
