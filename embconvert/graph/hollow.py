"""Graphs without their weights ("hollow").

The libraries that rewrite graphs often copy an onnx.ModelProto. A hollow one has placeholders for
large weights, so that copies are cheap. Weights are read from the file when needed, and in the end
are inserted again as lazy tensors.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

#: The weights removed from a graph, by name.
TensorsByName = Mapping[str, "ir.TensorProtocol"]

#: Smaller weights stay in the graph: shapes, scalars and small biases.
HOLLOW_BYTES = 4096


def hollow_out(model: "ir.Model") -> tuple[Any, "dict[str, ir.TensorProtocol]"]:
    """Removes the large weights of a model.

    Args:
        model: From onnx_file.read_model; not usable afterwards.

    Returns:
        An onnx.ModelProto with placeholders (name, type and shape, but no data), and the weights.
    """
    import onnx
    import onnx_ir as ir

    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        if tensor.nbytes <= HOLLOW_BYTES:
            value.const_value = ir.Tensor(tensor.numpy(), name=name)
            continue
        weights[name] = tensor
        del model.graph.initializers[name]
    proto = ir.to_proto(model)
    proto.graph.initializer.extend(
        onnx.TensorProto(name=name, dims=tensor.shape.numpy(), data_type=int(tensor.dtype))
        for name, tensor in weights.items()
    )
    return proto, weights


def fill(proto: Any, weights: "Mapping[str, ir.TensorProtocol]") -> "ir.Model":
    """Inserts the weights as lazy tensors into an onnx.ModelProto, which may have new ones."""
    import onnx_ir as ir

    model = ir.from_proto(proto)
    for tensor in proto.graph.initializer:
        if tensor.name in weights and not tensor.raw_data:
            model.graph.initializers[tensor.name].const_value = weights[tensor.name]
    return model


def reads_of(node: Any) -> Iterator[str]:
    """Yields the names that a node reads, including those read by its subgraphs."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in reads_of(inner) if name not in own)
                own |= set(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)
