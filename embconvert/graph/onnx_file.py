"""Reading and writing ONNX files without holding their weights in memory.

The protobuf library serializes a whole model in memory, several copies of every weight at once.
Here the small graph is serialized alone and the weights are streamed behind it, one at a time,
as more entries of the same GraphProto; the result is ordinary ONNX. A model over protobuf's 2 GB
gets its weights in one file beside it, `<name>.onnx_data`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.graph.description import describe
from embconvert.graph.lazy_onnx import read_lazily
from embconvert.graph.source_tensors import marked, places_file, read_places, write_places
from embconvert.graph.streams import HashingFile, bytes_ahead, hash_file
from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown
from embconvert.graph.uncached import open_to_write
from embconvert.models.values import (
    EXTERNAL_DATA_THRESHOLD_BYTES,
    FileRecord,
    OnnxArtifact,
)
from embconvert.user_files import UnreadableFileError

if TYPE_CHECKING:
    import onnx_ir as ir

# Tensors below this stay in the graph file even when it has external data: shapes and scalars,
# which runtimes read while they load the graph.
_INLINE_BYTES = 1024
# Page-aligned tensors can be memory-mapped.
_ALIGNMENT_BYTES = 4096

# Wire format of onnx.proto: field number << 3 | 2 (length-delimited).
_MODEL_GRAPH = b"\x3a"
_GRAPH_INITIALIZER = b"\x2a"
_TENSOR_RAW_DATA = b"\x4a"


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _tensor_header(name: str, tensor: "ir.TensorProtocol") -> Any:
    import onnx

    return onnx.TensorProto(name=name, dims=tensor.shape.numpy(), data_type=int(tensor.dtype))


def write_model(
    model: "ir.Model",
    path: Path,
    *,
    external_data_threshold_bytes: int = EXTERNAL_DATA_THRESHOLD_BYTES,
    keep_weights_apart: bool = False,
) -> OnnxArtifact:
    """Writes a model, streaming its weights.

    Args:
        model: Its initializers may be lazy or external tensors; each is materialized once.
        path: The file to write; must not be a file that the model's weights are mapped from.
        external_data_threshold_bytes: Weights above this go to `<path>_data`.
        keep_weights_apart: Do not write weights that lie in the source's files; only read_model
            reads the result.

    Returns:
        The file written.

    Raises:
        OSError: It cannot be written.
    """
    import onnx_ir as ir

    initializers = dict(model.graph.initializers)
    tensors = {
        name: value.const_value
        for name, value in initializers.items()
        if value.const_value is not None
    }
    model.graph.initializers.clear()
    try:
        proto = ir.to_proto(model)
    finally:
        model.graph.initializers.update(initializers)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")

    headers: dict[str, Any] = {n: _tensor_header(n, t) for n, t in tensors.items()}
    if keep_weights_apart:
        places = {n: place for n, t in tensors.items() if (place := marked(t)) is not None}
        write_places(path, places)
        tensors = {n: t for n, t in tensors.items() if n not in places}
    total_bytes = sum(tensor.nbytes for tensor in tensors.values())
    external: FileRecord | None = None
    inline = dict(tensors)
    if total_bytes > external_data_threshold_bytes:
        outside = {n: t for n, t in tensors.items() if t.nbytes >= _INLINE_BYTES}
        inline = {n: t for n, t in tensors.items() if n not in outside}
        external = _write_external_data(outside, headers, path.with_name(path.name + "_data"))

    entries = {n: header.SerializeToString(deterministic=True) for n, header in headers.items()}
    lengths: dict[str, int] = {}
    for name, header in entries.items():
        size = inline[name].nbytes if name in inline else None
        raw = 0 if size is None else len(_TENSOR_RAW_DATA) + len(_varint(size)) + size
        lengths[name] = len(header) + raw
    body = sum(len(_GRAPH_INITIALIZER) + len(_varint(n)) + n for n in lengths.values())
    with open_to_write(path, len(graph) + body) as stream:
        file = HashingFile(stream)
        file.write(proto.SerializeToString(deterministic=True))
        file.write(_MODEL_GRAPH + _varint(len(graph) + body) + graph)
        data = bytes_ahead(inline.values())
        for name, header in entries.items():
            file.write(_GRAPH_INITIALIZER + _varint(lengths[name]) + header)
            if name in inline:
                file.write(_TENSOR_RAW_DATA + _varint(inline[name].nbytes))
                file.write_next(data, inline[name].nbytes)
    return describe(model, path, file.sha256, external)


def _write_external_data(
    tensors: "dict[str, ir.TensorProtocol]", headers: dict[str, Any], path: Path
) -> FileRecord:
    """Streams tensors to one file and notes their places in their headers."""
    import onnx

    size = sum(tensor.nbytes for tensor in tensors.values())
    with open_to_write(path, size) as stream:
        file = HashingFile(stream)
        data = bytes_ahead(tensors.values())
        for name, tensor in tensors.items():
            file.write(bytes(-file.size_bytes % _ALIGNMENT_BYTES))
            header = headers[name]
            header.data_location = onnx.TensorProto.EXTERNAL
            place = {"location": path.name, "offset": file.size_bytes, "length": tensor.nbytes}
            for key, value in place.items():
                header.external_data.add(key=key, value=str(value))
            file.write_next(data, tensor.nbytes)
    return FileRecord(path=path.name, sha256=file.sha256, size_bytes=file.size_bytes)


def read_model(path: Path, *, refuse_links: bool = False) -> "ir.Model":
    """Reads a model; its large weights stay memory-mapped on disk.

    Args:
        path: The file.
        refuse_links: Whether its external data may be no hard link; staging's is one.

    Raises:
        UnsupportedGraphError: It has what is not converted, a sparse weight say.
        ValueError: It is no ONNX, contradicts itself, or its external data points out of its folder
            or is missing.
    """
    import onnx_ir as ir

    from embconvert.graph.mapped_tensors import MappedFile, MappedTensor

    try:
        places = read_places(path)
        model = read_lazily(path, places)
    except (OSError, MemoryError):
        raise
    except UnreadableFileError as error:
        raise ValueError(f"{path.name} {error}") from error
    except (MalformedGraphError, UnsupportedGraphError) as error:
        raise type(error)(f"{path.name} cannot be converted: {error}") from error
    except Exception as error:
        raise ValueError(f"{path.name} is no ONNX file: {error}") from error
    if not model.graph.outputs or not model.graph.inputs:
        raise ValueError(f"{path.name} is no ONNX file: it has no inputs or no outputs")
    _refuse_hidden_references(model, path)
    for name, elsewhere in places.items():
        model.graph.initializers[name].const_value = elsewhere
    files: dict[str, MappedFile] = {}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor) or tensor.location == str(path.absolute()):
            continue
        location = Path(tensor.location)
        file = path.parent / location
        if location.name != str(location) or file.is_symlink() or not file.is_file():
            raise ValueError(f"{path.name} needs {location}, which is not a file beside it")
        if refuse_links and file.stat().st_nlink > 1:
            raise ValueError(f"{location} is a hard link; copy the file itself beside {path.name}")
        end = (tensor.offset or 0) + tensor.nbytes
        if end > file.stat().st_size or (tensor.length or tensor.nbytes) != tensor.nbytes:
            raise ValueError(f"the tensor {shown(tensor.name or '')} is not all in {location}")
        value.const_value = MappedTensor(
            files.setdefault(file.name, MappedFile(file)),
            offset=tensor.offset or 0,
            length=tensor.length,
            dtype=tensor.dtype,
            shape=tensor.shape,
            name=tensor.name or "",
        )
    return model


def _refuse_hidden_references(model: "ir.Model", path: Path) -> None:
    """Refuses references to files where no weights belong: in subgraphs, attributes, functions.

    Raises:
        ValueError: There are some.
    """
    import onnx_ir as ir

    graphs = [model.graph, *model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        tensors = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.TENSOR]
        if isinstance(node.graph, ir.Graph) and node.graph is not model.graph:
            tensors += [value.const_value for value in node.graph.initializers.values()]
        if any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors):
            raise ValueError(f"{path.name} refers to another file from inside of a node")


def reference_weights(
    proto: Any, weights: "Mapping[str, ir.TensorProtocol]", folder: Path
) -> list[str]:
    """Turns a hollow graph's placeholders into external data in the files that read_model mapped.

    A graph file with its weights inside is such a file, too.

    Args:
        proto: An onnx.ModelProto; it is changed, and must be written into the folder.
        weights: As read_model gives them, by name.
        folder: Where the files lie.

    Returns:
        The names of the weights that lie elsewhere.
    """
    import onnx
    import onnx_ir as ir

    elsewhere = []
    for tensor in proto.graph.initializer:
        weight = weights.get(tensor.name)
        if weight is None or tensor.raw_data:
            continue
        place: dict[str, Any] = {"location": "elsewhere", "offset": 0}
        if isinstance(weight, ir.ExternalTensor) and Path(weight.location).parent == folder:
            place = {"location": Path(weight.location).name, "offset": weight.offset or 0}
        else:
            elsewhere.append(tensor.name)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (place | {"length": weight.nbytes}).items():
            tensor.external_data.add(key=key, value=str(value))
    return elsewhere


def weight_files(path: Path) -> tuple[str, ...]:
    """Returns the names of the files beside a graph that have its weights.

    Raises:
        ValueError: As read_model; or it is an intermediate file, whose weights are anywhere.
    """
    _refuse_intermediate(path)
    return tuple(sorted(_locations(read_model(path), path)))


def _locations(model: "ir.Model", path: Path) -> set[str]:
    import onnx_ir as ir

    return {
        Path(value.const_value.location).name
        for value in model.graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    } - {path.name}


def _refuse_intermediate(path: Path) -> None:
    if places_file(path).exists():
        raise ValueError(f"{path.name} is an intermediate file of embconvert, without weights")


def read_artifact(path: Path) -> OnnxArtifact:
    """Reads and describes a file of the user's; its external data may be no link of any kind.

    Raises:
        ValueError: As read_model.
    """
    _refuse_intermediate(path)
    model = read_model(path, refuse_links=True)
    locations = _locations(model, path)
    if len(locations) > 1:
        raise ValueError(f"{path.name} has its weights in {len(locations)} files; one is supported")
    external = None
    for location in locations:
        file = path.parent / location
        external = FileRecord(path=location, sha256=hash_file(file), size_bytes=file.stat().st_size)
    return describe(model, path, hash_file(path), external)
