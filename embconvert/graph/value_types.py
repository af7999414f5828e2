"""Types of a graph's values, inferred by ONNX Runtime without running the graph."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embconvert.graph.hollow import TensorsByName
from embconvert.graph.runtime import open_session, plain_options

_TENSOR = re.compile(r"tensor\((\w+)\)")


@dataclass(frozen=True)
class ValueType:
    """Type of a tensor.

    Attributes:
        element: A TensorProto.DataType.
        axes: Number of axes.
        sizes: Of the axes; a number is a fixed one.
    """

    element: int
    axes: int
    sizes: tuple[int | str | None, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, array: Any) -> "ValueType":
        import onnx

        return cls(onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.ndim)


def value_types(proto: Any, weights: TensorsByName) -> Mapping[str, ValueType]:
    """Returns the types of the values that nodes compute, by name, as far as they are known.

    ONNX Runtime infers them: onnx's own shape inference does not know its fused operators. Weights
    become graph inputs for it, so that none is read.

    Args:
        proto: Hollow onnx.ModelProto; not changed.
        weights: The weights that were removed from it.
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
    except Exception:  # noqa: BLE001 - an operator may need a constant weight
        return {}
    return {
        value.name: ValueType(
            onnx.TensorProto.DataType.Value(found[1].upper()), len(value.shape), tuple(value.shape)
        )
        for value in session.get_outputs()
        # No axes may mean a scalar, or that their number is unknown.
        if value.shape and (found := _TENSOR.fullmatch(value.type))
    }
