"""Reads an ONNX file, but leaves its weights on disk.

protobuf has no lazy fields: parsing a model copies every weight. Here the wire format is scanned,
the positions of large tensors are stored, and only the rest is parsed. The weights become tensors
that are memory-mapped when they are used.

Source of the format: https://protobuf.dev/programming-guides/encoding/ and onnx.proto.
"""

import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.graph.structure import check_structure
from embconvert.graph.tensor_checks import check_tensors
from embconvert.user_files import open_user_file

if TYPE_CHECKING:
    import onnx_ir as ir

_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9
_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}
# Smaller tensors are parsed.
_LAZY_BYTES = 4096
_MAX_PARSED_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class _Field:
    """A field of a message; its bytes, including the tag, are buffer[start:end]."""

    number: int
    start: int
    payload: int
    end: int


def _read_varint(buffer: Any, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 64:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("an integer in the file has no end")


def _fields(buffer: Any, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        first = position
        tag, position = _read_varint(buffer, position, end)
        kind = tag & 7
        if kind == 0:
            payload = position
            _, position = _read_varint(buffer, position, end)
        elif kind == _LENGTH_DELIMITED:
            length, payload = _read_varint(buffer, position, end)
            position = payload + length
        elif kind in _FIXED_BYTES:
            payload, position = position, position + _FIXED_BYTES[kind]
        else:
            raise ValueError(f"the file has a field of the unknown type {kind}")
        if position > end:
            raise ValueError("a field of the file is longer than the file")
        yield _Field(tag >> 3, first, payload, position)


def read_lazily(path: Path, placeholders: Collection[str] = ()) -> "ir.Model":
    """Reads a model; large initializers of its main graph stay in the file.

    Args:
        path: The file; it must not change while the model is used.
        placeholders: Names of initializers without data, which the caller fills in.

    Raises:
        MalformedGraphError: It is inconsistent; see tensor_checks.py and structure.py.
        UnsupportedGraphError: It has unsupported features.
        ValueError: It is not ONNX.
        OSError: It cannot be read.
    """
    import onnx
    import onnx_ir as ir

    from embconvert.graph.mapped_tensors import MappedFile, MappedTensor

    places: dict[str, tuple[int, int]] = {}
    with open_user_file(path) as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            raise ValueError("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            buffer.madvise(mmap.MADV_RANDOM)  # read-ahead would read the tensors
            rest = _joined(_without_large_tensors(buffer, places))
    proto = onnx.ModelProto.FromString(rest)
    if not proto.graph.input or not proto.graph.output:
        raise ValueError("it has no inputs or no outputs")
    check_tensors(proto, {name: length for name, (_, length) in places.items()}, placeholders)
    check_structure(proto)
    # Before ONNX 1.4, weights were also inputs, which a caller could replace.
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    if len(inputs) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
    model = ir.from_proto(proto)
    file = MappedFile(path)
    for tensor in proto.graph.initializer:
        if tensor.name not in places:
            continue
        offset, length = places[tensor.name]
        external = MappedTensor(
            file,
            offset=offset,
            length=length,
            dtype=ir.DataType(tensor.data_type),
            shape=ir.Shape(tensor.dims),
            name=tensor.name,
        )
        model.graph.initializers[tensor.name].const_value = external
    return model


def _joined(parts: Iterator[bytes]) -> bytes:
    """Joins the parts to parse; protobuf would refuse more than 2 GiB only after reading."""
    joined = bytearray()
    for part in parts:
        if len(joined) + len(part) > _MAX_PARSED_BYTES:
            raise ValueError("it is larger than 2 GiB without its weights")
        joined += part
    return bytes(joined)


def _without_large_tensors(buffer: Any, places: dict[str, tuple[int, int]]) -> Iterator[bytes]:
    """Yields the model's bytes without large initializers, and stores their positions."""
    for field in _fields(buffer, 0, len(buffer)):
        if field.number != _MODEL_GRAPH:
            yield buffer[field.start : field.end]
            continue
        parts = list(_graph_parts(buffer, field, places))
        # Parsers merge repeated messages of a field, so the total length need not be known.
        for part in parts:
            yield _delimited(_MODEL_GRAPH, part)


def _graph_parts(buffer: Any, graph: _Field, places: dict[str, tuple[int, int]]) -> Iterator[bytes]:
    import onnx

    for field in _fields(buffer, graph.payload, graph.end):
        large = field.number == _GRAPH_INITIALIZER and field.end - field.payload > _LAZY_BYTES
        if not large:
            yield buffer[field.start : field.end]
            continue
        header = bytearray()
        data: _Field | None = None
        for inner in _fields(buffer, field.payload, field.end):
            if inner.number == _TENSOR_RAW_DATA:
                data = inner
            else:
                header += buffer[inner.start : inner.end]
        if data is not None:
            name = onnx.TensorProto.FromString(bytes(header)).name
            places[name] = (data.payload, data.end - data.payload)
        yield _delimited(_GRAPH_INITIALIZER, bytes(header))


def _delimited(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Returns the wire format of a number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
