"""Reads and writes ONNX files without all weights in memory.

The protobuf library serializes a model in memory, with several copies of every weight. Here the
small graph is serialized, then the weights are appended one at a time, as entries of the same
GraphProto; the result is standard ONNX. If a model exceeds protobuf's 2 GB, its weights go to a
separate file, `<name>.onnx_data`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.graph.description import artifact_of
from embconvert.graph.external_data import file_beside
from embconvert.graph.lazy_onnx import read_lazily, varint
from embconvert.graph.source_tensors import marked, places_file, read_places, write_places
from embconvert.graph.streams import HashingFile, bytes_ahead, hash_file
from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown
from embconvert.models.source_records import FileRecord
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, OnnxArtifact
from embconvert.processes.bounds import lowered
from embconvert.user_files import UnreadableFileError

if TYPE_CHECKING:
    import onnx_ir as ir

# Smaller tensors stay in the graph file even if it has external data: runtimes read shapes and
# scalars while they load the graph.
_INLINE_BYTES = 1024
# Page-aligned tensors can be memory-mapped.
_ALIGNMENT_BYTES = 4096

# Wire format of onnx.proto: field number << 3 | 2 (length-delimited).
_MODEL_GRAPH = b"\x3a"
_GRAPH_INITIALIZER = b"\x2a"
_TENSOR_RAW_DATA = b"\x4a"


def _tensor_header(name: str, tensor: "ir.TensorProtocol") -> Any:
    import onnx

    return onnx.TensorProto(name=name, dims=tensor.shape.numpy(), data_type=int(tensor.dtype))


def write_model(
    model: "ir.Model",
    path: Path,
    *,
    external_data_threshold_bytes: int | None = None,
    keep_weights_apart: bool = False,
) -> OnnxArtifact:
    """Writes a model, streaming its weights.

    Args:
        model: Its initializers may be lazy or external; each is materialized once.
        path: Must not be a file from which the model's weights are mapped.
        external_data_threshold_bytes: Larger weights go to `<path>_data`; None means protobuf's
            limit, which EMBCONVERT_EXTERNAL_DATA_BYTES lowers.
        keep_weights_apart: Do not write weights that are in the source's files; the result can be
            read only by read_model.

    Raises:
        OSError: It cannot be written.
    """
    import onnx_ir as ir

    if external_data_threshold_bytes is None:
        external_data_threshold_bytes = lowered(
            "EXTERNAL_DATA_BYTES", EXTERNAL_DATA_THRESHOLD_BYTES
        )
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

    digest = _write_graph_file(path, proto, graph, headers, inline)
    return artifact_of(model, path, digest, external)


def _write_graph_file(
    path: Path,
    model: Any,
    graph: bytes,
    headers: Mapping[str, Any],
    inline: "Mapping[str, ir.TensorProtocol]",
) -> str:
    """Writes a graph file, and returns its sha256.

    Args:
        model: An onnx.ModelProto without its graph.
        graph: An onnx.GraphProto without its weights.
        headers: The TensorProto of each weight, without its data.
        inline: Weights whose data is in this file.
    """
    entries = {n: header.SerializeToString(deterministic=True) for n, header in headers.items()}
    lengths: dict[str, int] = {}
    for name, header in entries.items():
        size = inline[name].nbytes if name in inline else None
        raw = 0 if size is None else len(_TENSOR_RAW_DATA) + len(varint(size)) + size
        lengths[name] = len(header) + raw
    body = sum(len(_GRAPH_INITIALIZER) + len(varint(n)) + n for n in lengths.values())
    with path.open("wb") as stream:
        file = HashingFile(stream)
        file.write(model.SerializeToString(deterministic=True))
        file.write(_MODEL_GRAPH + varint(len(graph) + body) + graph)
        data = bytes_ahead(inline.values())
        for name, header in entries.items():
            file.write(_GRAPH_INITIALIZER + varint(lengths[name]) + header)
            if name in inline:
                file.write(_TENSOR_RAW_DATA + varint(inline[name].nbytes))
                file.write_next(data, inline[name].nbytes)
    return file.sha256


def _write_external_data(
    tensors: "dict[str, ir.TensorProtocol]", headers: dict[str, Any], path: Path
) -> FileRecord:
    """Writes tensors to one file, and their positions to their headers."""
    import onnx

    with path.open("wb") as stream:
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
    """Reads a model; its large weights are memory-mapped.

    Args:
        refuse_links: Whether external data must not be a hard link, as it is in staging folders.

    Raises:
        UnsupportedGraphError: It has unsupported features, such as sparse weights.
        ValueError: It is not ONNX, inconsistent, or its external data is missing or outside its
            folder.
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
        raise ValueError(f"{path.name} is not an ONNX file: {error}") from error
    if not model.graph.outputs or not model.graph.inputs:
        raise ValueError(f"{path.name} is not an ONNX file: it has no inputs or no outputs")
    for name, elsewhere in places.items():
        model.graph.initializers[name].const_value = elsewhere
    files: dict[str, MappedFile] = {}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor) or tensor.location == str(path.absolute()):
            continue
        location = Path(tensor.location)
        file = file_beside(path, location)
        if refuse_links and file.stat().st_nlink > 1:
            raise ValueError(
                f"{location} is a hard link; copy the file itself to the folder of {path.name}"
            )
        end = (tensor.offset or 0) + tensor.nbytes
        if end > file.stat().st_size or (tensor.length or tensor.nbytes) != tensor.nbytes:
            raise ValueError(
                f"{location} does not have the whole tensor {shown(tensor.name or '')}"
            )
        value.const_value = MappedTensor(
            files.setdefault(location.name, MappedFile(file, location.name)),
            offset=tensor.offset or 0,
            length=tensor.length,
            dtype=tensor.dtype,
            shape=tensor.shape,
            name=tensor.name or "",
        )
    return model


def reference_weights(
    proto: Any, weights: "Mapping[str, ir.TensorProtocol]", folder: Path
) -> list[str]:
    """Turns a hollow graph's placeholders into external data, in files of its weights.

    This includes a graph file that contains its weights.

    Args:
        proto: An onnx.ModelProto, which is changed and must be written to the folder.
        weights: From read_model, by name.
        folder: Of the files.

    Returns:
        The names of weights outside the folder.
    """
    import onnx
    import onnx_ir as ir

    elsewhere = []
    folder = folder.absolute()  # as the locations are
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


def external_data_files(path: Path) -> tuple[str, ...]:
    """Returns the names of a graph's external data files; raises ValueError as read_model()."""
    _refuse_intermediate(path)
    return tuple(sorted(_locations(read_model(path), path)))


def _locations(model: "ir.Model", path: Path) -> set[str]:
    from embconvert.graph.mapped_tensors import MappedTensor

    return {
        value.const_value.file_name
        for value in model.graph.initializers.values()
        if isinstance(value.const_value, MappedTensor)
    } - {path.name}


def _refuse_intermediate(path: Path) -> None:
    if places_file(path).exists():
        raise ValueError(f"{path.name} is an intermediate file of embconvert, without weights")


def read_artifact(path: Path) -> OnnxArtifact:
    """Reads and describes a user's file, which may have no links; raises ValueError."""
    _refuse_intermediate(path)
    model = read_model(path, refuse_links=True)
    locations = _locations(model, path)
    if len(locations) > 1:
        raise ValueError(
            f"{path.name} has weights in {len(locations)} files; only one is supported"
        )
    external = None
    for location in locations:
        file = path.parent / location
        external = FileRecord(path=location, sha256=hash_file(file), size_bytes=file.stat().st_size)
    return artifact_of(model, path, hash_file(path), external)
