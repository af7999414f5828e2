"""Working on a graph without its weights.

The libraries that rewrite graphs take an onnx.ModelProto and copy it freely. A hollow one has
placeholders for large weights, so that copies cost nothing; whoever looks at a weight gets it
from the file, and at the end the weights are put back as tensors that are read when written.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.layout import contiguous
from embconvert.processes.threads import on_rows

if TYPE_CHECKING:
    import onnx_ir as ir

#: The weights that were taken out of a graph, by name.
Weights = Mapping[str, "ir.TensorProtocol"]

#: Smaller weights stay: shapes, scalars and small biases.
HOLLOW_BYTES = 4096
#: The largest number of half precision.
HALF_RANGE = 65504.0
# What convert_np_to_float16 clips to.
_HALF_LARGEST = np.float32(1e4)
# Half-precision numbers without their sign, which grow as their bits do: what it rounds smaller
# numbers up to, 1e-7, and what it clips larger ones to.
_TINIEST, _LARGEST = np.array([1e-7, 1e4], np.float16).view(np.uint16)


class TooLargeForHalf(Exception):  # noqa: N818 - who casts it keeps it float32
    """A weight has numbers beyond half precision's range.

    Attributes:
        weight: Its name.
    """

    def __init__(self, weight: str) -> None:
        super().__init__(f"{weight} leaves half precision's range")
        self.weight = weight


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
                weight if kind == weight.dtype else _half(tensor.name, weight)
            )
    return model


def _half(name: str, weight: "ir.TensorProtocol") -> "ir.TensorProtocol":
    """Returns a weight cast to float16 when it is looked at; TooLargeForHalf then."""
    import onnx_ir as ir

    def cast() -> ir.Tensor:
        try:
            return ir.Tensor(to_half(weight.numpy(), HALF_RANGE))
        except OverflowError as error:
            raise TooLargeForHalf(name) from error

    return ir.LazyTensor(
        cast,
        ir.DataType.FLOAT16,
        shape=ir.Shape(weight.shape),
        name=name,
    )


def to_half(values: Any, largest: float = np.inf) -> Any:
    """Casts a float32 array to float16 as onnxconverter-common's convert_np_to_float16 does.

    Finite numbers stay finite, and those that are not zero stay so. The library's takes twenty
    times as long, and ten times the array's memory.

    Args:
        values: Of any shape but ().
        largest: No absolute value may be larger.

    Raises:
        OverflowError: One is.
    """
    if values.ndim == 2 and values.T.flags.c_contiguous and not values.flags.c_contiguous:
        return contiguous(to_half(values.T, largest).T)  # read in the order in which it lies
    half = np.empty(values.shape, np.float16)

    def cast(rows: slice) -> None:
        given, made = values[rows], half[rows]
        with np.errstate(over="ignore"):
            made[...] = given
        bits = made.view(np.uint16)
        sizes = bits & 0x7FFF
        tiny = (sizes < _TINIEST) & (given != 0)
        bits[tiny] = bits[tiny] & 0x8000 | _TINIEST
        large = sizes > _LARGEST
        if large.any():
            if np.abs(given[large]).max() > largest:
                raise OverflowError
            clipped = np.clip(given[large], -_HALF_LARGEST, _HALF_LARGEST)
            made[large] = np.where(np.isinf(given[large]), given[large], clipped)

    on_rows(cast, values.shape)
    return half


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
