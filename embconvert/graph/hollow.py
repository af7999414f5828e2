"""Working on a graph without its weights.

The libraries that rewrite graphs take an onnx.ModelProto and copy it freely. A hollow one has
placeholders for large weights, so that copies cost nothing; whoever looks at a weight gets it
from the file, and at the end the weights are put back as tensors that are read when written.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from embconvert.graph.half_precision import half_weight

if TYPE_CHECKING:
    import onnx_ir as ir

#: The weights that were taken out of a graph, by name.
Weights = Mapping[str, "ir.TensorProtocol"]

#: Smaller weights stay: shapes, scalars and small biases.
HOLLOW_BYTES = 4096


def hollow_out(model: "ir.Model") -> tuple[Any, "dict[str, ir.TensorProtocol]"]:
    """Takes the large weights out of a model.

    Args:
        model: As onnx_file.read_model gives it; not to be used afterwards.

    Returns:
        An onnx.ModelProto with placeholders (name, type and shape, no data), and the weights by
        name.
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
    """Puts the weights back, lazily.

    Args:
        proto: An onnx.ModelProto; placeholders may have gone, and new weights may have come. A
            float32 placeholder that became float16 gets its weight cast.
        weights: From hollow_out.
    """
    import onnx_ir as ir

    model = ir.from_proto(proto)
    for tensor in proto.graph.initializer:
        if tensor.name in weights and not tensor.raw_data:
            kind = ir.DataType(tensor.data_type)
            weight = weights[tensor.name]
            model.graph.initializers[tensor.name].const_value = (
                weight if kind == weight.dtype else half_weight(tensor.name, weight)
            )
    return model


def reads_of(node: Any) -> Iterator[str]:
    """Yields the names that a node reads, those that its subgraphs take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in reads_of(inner) if name not in own)
                own |= set(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)
