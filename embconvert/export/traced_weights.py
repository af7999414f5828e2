"""Binds a traced graph to the source's weights, which are read when they are written.

In the traced graph they are inputs, some of which are renamed or transposed by a node.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError
from embconvert.graph.source_tensors import mark, marked, place_of, transposed
from embconvert.processes.mappings import MappedRange, mapped_ranges
from embconvert.source.merged_weight import MergedWeight

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch


def bind_weights(
    model: "ir.Model", weights: "Mapping[str, torch.Tensor | MergedWeight]", files: Collection[str]
) -> list[str]:
    """Turns graph inputs that are weights into initializers; returns their names.

    The tensors are those of the source model. Names become those of the checkpoint.

    Args:
        files: The paths of the weight files, with links resolved.
    """
    import onnx_ir as ir

    graph = model.graph
    for value in [v for v in graph.inputs if v.name in weights]:
        graph.inputs.remove(value)
        graph.initializers.add(value)
    parts = _split_selected(graph, weights)
    weights = {**weights, **parts.tensors}
    mapped = list(mapped_ranges(files))
    for name, value in graph.initializers.items():
        if name in weights:
            value.const_value = _lazy_weight(name, weights[name], mapped)
    used = [name for name, value in graph.initializers.items() if name in weights and value.uses()]
    taken = set(graph.initializers) | {
        v.name for v in ir.traversal.RecursiveGraphIterator(graph) for v in v.outputs
    }
    for name in [n for n in graph.initializers if n in weights]:
        short = name.split(".", 3)[-1]
        if short not in taken:
            taken.add(short)
            graph.initializers[name].name = short
    return [parts.wholes.get(name, name) for name in used]


@dataclass
class _Parts:
    """Weights cut out of others, by name; `wholes` has the name of the weight of each."""

    tensors: "dict[str, torch.Tensor]" = field(default_factory=dict)
    wholes: dict[str, str] = field(default_factory=dict)


def _split_selected(
    graph: "ir.Graph", weights: "Mapping[str, torch.Tensor | MergedWeight]"
) -> _Parts:
    """Replaces the selection of one matrix of a 3-D weight, such as an expert's, by that matrix.

    A weight whose matrices are below each other in one may be made 3-D first. Quantizers see only
    matrices that are weights themselves.
    """
    import onnx_ir as ir

    parts = _Parts()
    for node in list(graph):
        whole = node.inputs[0] if node.op_type == "Gather" and node.inputs else None
        reshape = whole.producer() if whole is not None else None
        sizes = None
        if reshape is not None and reshape.op_type == "Reshape":
            whole, sizes = reshape.inputs[0], ir.convenience.get_const_tensor(reshape.inputs[1])
            if sizes is None:
                continue
        if whole is None or whole.name not in weights or not whole.is_initializer():
            continue
        index = ir.convenience.get_const_tensor(node.inputs[1])
        stored = weights[whole.name]
        if index is None or index.shape or node.attributes.get_int("axis", 0):
            continue
        if stored.ndim < 2 or isinstance(stored, MergedWeight) or not stored.is_floating_point():
            continue
        if sizes is not None:
            stored = stored.reshape(sizes.numpy().tolist())
        number = int(index.numpy())
        name = (
            f"{whole.name}.{number}" if sizes is None else f"{whole.name}.{number}_of_{len(stored)}"
        )
        if name not in parts.tensors:
            parts.tensors[name], parts.wholes[name] = stored[number], whole.name
            kind = ir.TensorType(ir.DataType.FLOAT)
            part = ir.Value(name=name, shape=ir.Shape(stored.shape[1:]), type=kind)
            graph.initializers.add(part)
        ir.convenience.replace_all_uses_with(node.outputs[0], graph.initializers[name])
        graph.remove(node, safe=True)
        if sizes is not None and reshape is not None and not reshape.outputs[0].uses():
            graph.remove(reshape, safe=True)
    return parts


def _lazy_weight(
    name: str, stored: "torch.Tensor | MergedWeight", files: Sequence[MappedRange]
) -> "ir.TensorProtocol":
    """Returns a weight that is read, merged, checked and cast to float32 when it is used."""
    import onnx_ir as ir
    import torch
    from onnx_ir.tensor_adapters import TorchTensor

    is_merged = isinstance(stored, MergedWeight)
    place = stored.place(files) if is_merged else place_of(stored, files)

    def read() -> "ir.Tensor":
        values: Any = stored
        if is_merged:
            # As those read it who have only the place, to the last bit.
            values = stored.float() if place is None else torch.from_numpy(place.read())
        # isfinite() would copy the whole tensor; the extremes of a tensor with NaN or infinity are
        # not finite.
        if values.numel() and not all(extreme.isfinite() for extreme in values.aminmax()):
            raise SourceError(
                f"the weight {name.split('.', 3)[-1]} has values that are not finite",
                "download the model again",
            )
        return ir.Tensor(values.float().cpu().numpy(), name=name)

    if not isinstance(stored, MergedWeight) and not stored.is_floating_point():
        return TorchTensor(stored.cpu(), name=name)
    shape = ir.Shape(stored.shape)
    lazy = ir.LazyTensor(read, ir.DataType.FLOAT, shape=shape, name=name)
    return mark(lazy, place)


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

    A weight that several nodes transpose in the same way, as in a layer that runs repeatedly, is
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
    """Returns a weight whose axes are permuted when it is used."""
    import numpy as np
    import onnx_ir as ir

    def transpose() -> "ir.Tensor":
        return ir.Tensor(np.transpose(tensor.numpy(), permutation), dtype=tensor.dtype)

    shape = ir.Shape([tensor.shape[axis] for axis in permutation])
    lazy = ir.LazyTensor(transpose, tensor.dtype, shape=shape, name=name)
    mark(lazy, transposed(marked(tensor), permutation))
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
