"""Checks that the shape and type of each tensor match its data.

Some libraries trust the shape, others the data: they would read beyond the data, or skip some.

Source of the fields and of the packed types: TensorProto of onnx.proto (ONNX 1.23).
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

#: Where the elements of each type are, if not in raw_data: the field, and entries per element.
_FIELDS: dict[str, tuple[str, int]] = {
    "FLOAT": ("float_data", 1),
    "COMPLEX64": ("float_data", 2),
    "DOUBLE": ("double_data", 1),
    "COMPLEX128": ("double_data", 2),
    "INT64": ("int64_data", 1),
    "UINT64": ("uint64_data", 1),
    "UINT32": ("uint64_data", 1),
    **dict.fromkeys(
        (
            "INT32", "INT16", "INT8", "INT4", "INT2", "UINT16", "UINT8", "UINT4", "UINT2", "BOOL",
            "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
            "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "FLOAT4E2M1",
        ),
        ("int32_data", 1),
    ),
}  # fmt: skip
_ALL_FIELDS = ("string_data", *dict.fromkeys(name for name, _ in _FIELDS.values()))
# numpy has arrays of up to 64 axes, and counts bytes in 63 bits.
_MOST_AXES = 64
_MOST_BITS = 1 << 62


class MalformedGraphError(ValueError):
    """A file contradicts itself, or breaks a rule of ONNX."""


class UnsupportedGraphError(ValueError):
    """A file is valid ONNX, but uses something that embconvert does not convert."""


def shown(name: str) -> str:
    """Returns an untrusted name for a message: shortened, control characters escaped."""
    return repr(name if len(name) <= 60 else name[:60] + "...")


def tensors_in_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yields every TensorProto in NodeProtos, at any depth; refuses sparse ones."""
    for node in nodes:
        yield from _tensors_in_attributes(node.attribute)


def _tensors_in_attributes(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise UnsupportedGraphError(f"the attribute {shown(attribute.name)} is a sparse tensor")
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            _refuse_sparse_weights(graph)
            yield from graph.initializer
            yield from tensors_in_nodes(graph.node)


def _refuse_sparse_weights(graph: Any) -> None:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise UnsupportedGraphError(f"the weight {shown(name)} is a sparse tensor")


def check_tensors(
    model: Any, elsewhere: Mapping[str, int], placeholders: Collection[str] = ()
) -> None:
    """Checks all tensors of an onnx.ModelProto.

    Args:
        elsewhere: Length in bytes of raw data that was not parsed, by name of the main graph's
            initializer.
        placeholders: Names of initializers of the main graph that have no data.

    Raises:
        MalformedGraphError: The shape, type and data of one do not match, or one of a node, a
            subgraph or a function has its data in another file.
        UnsupportedGraphError: One is sparse, or has strings.
    """
    _refuse_sparse_weights(model.graph)
    for tensor in model.graph.initializer:
        if tensor.name not in placeholders:
            _check(tensor, elsewhere.get(tensor.name))
    for tensor in tensors_in_nodes(model.graph.node):
        _check_inside(tensor)
    for function in model.functions:
        # The defaults of the function's attributes.
        for tensor in _tensors_in_attributes(function.attribute_proto):
            _check_inside(tensor)
        for tensor in tensors_in_nodes(function.node):
            _check_inside(tensor)


def _check_inside(tensor: Any) -> None:
    """Checks a TensorProto of a node, whose data must be in the graph's own file."""
    if tensor.data_location == tensor.EXTERNAL:
        raise MalformedGraphError(
            f"the tensor {shown(tensor.name)} of a node refers to another file"
        )
    _check(tensor)


def _check(tensor: Any, apart: int | None = None) -> None:
    """Checks a TensorProto; `apart` is the length of its raw data, if that was not parsed."""
    kind = _types().get(tensor.data_type, "")
    if kind == "STRING":
        raise UnsupportedGraphError(f"the tensor {shown(tensor.name)} has strings")
    raw = len(tensor.raw_data) if apart is None else apart
    # The later checks rely on the earlier ones.
    for problem in (*_of_shape(tensor, kind), *_of_places(tensor, kind, raw)):
        raise MalformedGraphError(f"the tensor {shown(tensor.name)} {problem}")
    if tensor.data_location != tensor.EXTERNAL:
        for problem in _of_data(tensor, kind, raw):
            raise MalformedGraphError(f"the tensor {shown(tensor.name)} {problem}")


@cache
def _types() -> Mapping[int, str]:
    from onnx import TensorProto

    return {number: name for name, number in TensorProto.DataType.items()}


def _bits(tensor: Any) -> int:
    import onnx_ir as ir

    return int(ir.DataType(tensor.data_type).bitwidth)


def _of_shape(tensor: Any, kind: str) -> Iterator[str]:
    """Yields problems of type and shape, each as the end of a sentence."""
    if kind not in _FIELDS:
        yield f"has the unknown data type {tensor.data_type}"
        return
    if len(tensor.dims) > _MOST_AXES:
        yield f"has {len(tensor.dims)} axes"
    if any(size < 0 for size in tensor.dims):
        yield "has a negative size"
    # Without zeros: a library may multiply those last, after an overflow.
    if math.prod(size for size in tensor.dims if size) * _bits(tensor) > _MOST_BITS:
        yield "has a shape larger than any memory"


def _of_places(tensor: Any, kind: str, raw: int) -> Iterator[str]:
    """Yields problems of where the data is: in more than one field, or in another type's."""
    given = [name for name in _ALL_FIELDS if len(getattr(tensor, name))]
    # onnx_ir reads raw data that is there, even if it is empty; others read the other field then.
    has_raw = raw > 0 or (bool(given) and tensor.HasField("raw_data"))
    places = ["raw_data"] * has_raw + given
    if tensor.HasField("segment"):
        yield "is one segment of a tensor"
    if tensor.data_location == tensor.EXTERNAL:
        if places:
            yield "has data both in this file and in another one"
        return
    if tensor.external_data:
        yield "names external data, but is not marked as external"
    if len(places) > 1 or (given and given != [_FIELDS[kind][0]]):
        yield f"has its data in {', '.join(places)}"


def _of_data(tensor: Any, kind: str, raw: int) -> Iterator[str]:
    """Yields problems of the data, which is in one field of this file."""
    field, entries = _FIELDS[kind]
    bits, elements = _bits(tensor), math.prod(tensor.dims)
    packed = (elements * bits + 7) // 8
    found = getattr(tensor, field)
    if raw or not found:
        if raw != packed:
            yield f"has {raw} bytes of data, but its shape needs {packed}"
        return
    wanted = elements * entries if bits >= 8 else packed
    if len(found) != wanted:
        yield f"has {len(found)} values in {field}, but its shape needs {wanted}"
    low, high = _range(kind, bits)
    if field in ("int32_data", "uint64_data") and any(not low <= value <= high for value in found):
        yield f"has numbers in {field} that are outside of the range of {kind.lower()}"


def _range(kind: str, bits: int) -> tuple[int, int]:
    """Returns the smallest and largest number that an element may have in a wider field."""
    if kind == "BOOL":
        return 0, 1
    bits = max(bits, 8)
    if kind in ("INT8", "INT16", "INT32"):
        return -(1 << bits - 1), (1 << bits - 1) - 1
    # Tools write bit patterns (of packed numbers, of floats) as signed or unsigned bytes.
    low = 0 if (kind.startswith("UINT") and bits > 8) or kind == "UINT8" else -(1 << bits - 1)
    return low, (1 << bits) - 1
