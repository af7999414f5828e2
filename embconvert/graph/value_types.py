"""What the values of a graph are, told by ONNX Runtime without running it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.graph.hollow import Weights
from embconvert.graph.runtime import open_session, plain_options

_TENSOR = re.compile(r"tensor\((\w+)\)")


@dataclass(frozen=True)
class ValueType:
    """What a tensor is.

    Attributes:
        element: A TensorProto.DataType.
        axes: How many it has.
    """

    element: int
    axes: int

    @classmethod
    def of(cls, array: Any) -> "ValueType":
        """Returns what an array is."""
        import onnx

        return cls(onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.ndim)


def value_types(proto: Any, weights: Weights) -> Mapping[str, ValueType]:
    """Returns what the values that nodes make are, by name, as far as that can be told.

    ONNX Runtime infers it, as onnx's own shape inference knows none of its fused operators. Weights
    are inputs of the graph meanwhile, so none is read.

    Args:
        proto: A hollow onnx.ModelProto; it is not changed.
        weights: What was taken out of it.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    graph.ClearField("initializer")
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            typed = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(typed)
        else:
            graph.initializer.append(tensor)
    outputs = {value.name for value in graph.output}
    made = (name for node in graph.node for name in node.output if name)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in outputs)
    try:
        session = open_session(model.SerializeToString(), plain_options())
    except Exception:  # noqa: BLE001 - an operator may want its weight as a constant
        return {}
    return {
        value.name: ValueType(onnx.TensorProto.DataType.Value(found[1].upper()), len(value.shape))
        for value in session.get_outputs()
        # No axes may mean a scalar, or that their number is unknown.
        if value.shape and (found := _TENSOR.fullmatch(value.type))
    }
