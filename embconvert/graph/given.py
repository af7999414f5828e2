"""Reads, checks and loads a graph given by the user, in a worker process."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError, reason_of
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_artifact, read_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, plain_options, session_options
from embconvert.graph.segments import open_mapped
from embconvert.graph.source_tensors import places_file
from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown
from embconvert.models.values import OnnxArtifact, TensorInfo

# ONNX Runtime parses smaller files directly, which takes twice as much memory.
_PARSED_BYTES = 1 << 26
#: Size of dynamic axes of inputs.
_FEW = 4


def read_given(path: Path, work: Path) -> OnnxArtifact:
    """Reads a graph given by the user.

    Args:
        path: The file; it is not changed.

    Raises:
        SourceError: It is missing, not ONNX, incomplete, too large, or ONNX Runtime cannot load it.
        UnsupportedModelError: It is valid ONNX with unsupported features.
    """
    with _source_errors(path):
        artifact = read_artifact(path)
        _write_in_memory(path)
        problem = load_problem(path, artifact.total_size_bytes, work)
    if problem is not None:
        raise problem
    return artifact


def check_given(path: Path) -> None:
    """Checks a graph that will be run, without loading it; raises like read_given."""
    with _source_errors(path):
        if places_file(path).exists():
            raise ValueError(f"{places_file(path).name} is not a file of a published folder")
        read_model(path)


def _write_in_memory(path: Path) -> None:
    """Raises MalformedGraphError if a graph cannot be written: a field is missing."""
    try:
        hollow_out(read_model(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise MalformedGraphError(f"{path.name} cannot be converted: {reason_of(cause)}") from error


@contextlib.contextmanager
def _source_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{path}: {error.strerror}", "check the path and its permissions"
        ) from error
    except MemoryError as error:
        raise SourceError(
            f"there is not enough memory to read {path.name}", "add memory, or use a smaller graph"
        ) from error
    except UnsupportedGraphError as error:
        raise UnsupportedModelError(
            str(error), "export the model again without it: embconvert export"
        ) from error
    except ValueError as error:
        raise SourceError(
            str(error),
            "give a complete ONNX file with its external data next to it, or export the model "
            "again",
        ) from error


def load_problem(path: Path, size_bytes: int, work: Path) -> EmbconvertError | None:
    """Loads a graph without optimizations; returns the error if that fails.

    Large weights stay on disk.

    Args:
        size_bytes: Of the file with its weights.
        work: A folder for temporary files; weights in it are mapped by ONNX Runtime.
    """
    options = plain_options(**NO_SECOND_COPY)
    try:
        if size_bytes <= _PARSED_BYTES:
            open_session(path, options)
        else:
            open_mapped(path, work, options)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has one class per error code
        if type(error).__name__ == "NotImplemented":
            return UnsupportedModelError(
                f"ONNX Runtime has no CPU operator for {path.name}: {reason_of(error)}",
                "use a float32 graph with operators of ONNX or com.microsoft",
            )
        return SourceError(
            f"ONNX Runtime cannot load {path.name}: {reason_of(error)}",
            "give a graph that ONNX Runtime can load on the CPU, or export the model again",
        )
    return None


def run_problem(artifact: OnnxArtifact, inputs: Collection[str]) -> str | None:
    """Runs a graph once on tiny inputs, if it has no others; returns the error if that fails."""
    others = [value.name for value in artifact.inputs if value.name not in inputs]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"it has inputs that a tokenizer does not provide: {shown(others[0])}{more}"
    try:
        session = open_session(artifact.path, session_options())
        session.run(None, _feed(artifact))
    except Exception as error:  # noqa: BLE001 - any error is the graph's
        return reason_of(error)
    return None


def _feed(artifact: OnnxArtifact) -> Mapping[str, Any]:
    return {value.name: _ones(value) for value in artifact.inputs}


def _ones(value: TensorInfo) -> Any:
    shape = [size if isinstance(size, int) else _FEW for size in value.shape]
    return np.ones(shape, value.numpy_type)
