"""A graph that somebody gives: read, checked, and loaded once, in a worker process."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_artifact, read_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, plain_options, session_options
from embconvert.graph.segments import mapped
from embconvert.graph.source_tensors import places_file
from embconvert.graph.tensor_checks import MalformedGraphError, UnsupportedGraphError, shown
from embconvert.models.values import OnnxArtifact, TensorInfo

# ONNX Runtime parses a file of this size as it is, which takes twice as much memory.
_PARSED_BYTES = 1 << 26
#: Of each axis of an input whose size is open.
_FEW = 4


def first_line(error: BaseException) -> str:
    """Returns what an error of a library says, as far as it fits into a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def read_given(path: Path, work: Path) -> OnnxArtifact:
    """Reads a graph that somebody gives.

    Args:
        path: The file; it is not changed.
        work: A folder for temporary files.

    Raises:
        SourceError: It is missing, no ONNX, not whole, too large, or ONNX Runtime does not load it.
        UnsupportedModelError: It is as ONNX wants it, and has what is not converted.
    """
    with _source_errors(path):
        artifact = read_artifact(path)
        _write_in_memory(path)
        problem = load_problem(path, artifact.total_size_bytes, work)
    if problem is not None:
        raise problem
    return artifact


def check_given(path: Path) -> None:
    """Checks a graph that is going to be run, without loading it.

    Raises:
        EmbconvertError: As read_given.
    """
    with _source_errors(path):
        if places_file(path).exists():
            raise ValueError(f"{places_file(path).name} is no file of a published folder")
        read_model(path)


def _write_in_memory(path: Path) -> None:
    """Raises MalformedGraphError when what was read could not be written: a field is missing."""
    try:
        hollow_out(read_model(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise MalformedGraphError(
            f"{path.name} cannot be converted: {first_line(cause)}"
        ) from error


@contextlib.contextmanager
def _source_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}", "check the path") from error
    except MemoryError as error:
        raise SourceError(
            f"there is not enough memory to read {path.name}",
            "give it more memory, or a smaller graph",
        ) from error
    except UnsupportedGraphError as error:
        raise UnsupportedModelError(
            str(error), "export the model anew, without it: embconvert export"
        ) from error
    except ValueError as error:
        raise SourceError(
            str(error),
            "give a whole ONNX file with its external data beside it, or export the model anew",
        ) from error


def load_problem(path: Path, size_bytes: int, work: Path) -> EmbconvertError | None:
    """Loads a graph as it is, without optimizing it; returns what is wrong when it doesn't load.

    Its large weights stay on the disk.

    Args:
        path: The file.
        size_bytes: Its size, with its weights.
        work: A folder for temporary files; weights that lie in it are mapped by ONNX Runtime.
    """
    options = plain_options(**NO_SECOND_COPY)
    try:
        if size_bytes <= _PARSED_BYTES:
            open_session(path, options)
        else:
            proto, weights = hollow_out(read_model(path))
            with mapped(proto, weights, work, options) as graph:
                open_session(graph, options)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has one class for each of its codes
        if type(error).__name__ == "NotImplemented":
            return UnsupportedModelError(
                f"ONNX Runtime has no operator for {path.name} on the CPU: {first_line(error)}",
                "give the graph in float32, with operators of ONNX or com.microsoft",
            )
        return SourceError(
            f"ONNX Runtime does not load {path.name}: {first_line(error)}",
            "give a graph that ONNX Runtime loads on the CPU, or export the model anew",
        )
    return None


def run_problem(artifact: OnnxArtifact, inputs: Collection[str]) -> str | None:
    """Runs a graph once on next to nothing; returns what is wrong when it doesn't run.

    Args:
        artifact: The graph.
        inputs: Names of those that a graph may have.
    """
    others = [value.name for value in artifact.inputs if value.name not in inputs]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"it has inputs that no tokenizer gives: {shown(others[0])}{more}"
    try:
        session = open_session(artifact.path, session_options())
        session.run(None, _feed(artifact))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the graph's
        return first_line(error)
    return None


def _feed(artifact: OnnxArtifact) -> Mapping[str, Any]:
    return {value.name: _ones(value) for value in artifact.inputs}


def _ones(value: TensorInfo) -> Any:
    shape = [size if isinstance(size, int) else _FEW for size in value.shape]
    return np.ones(shape, {"float": "float32", "double": "float64"}.get(value.dtype, value.dtype))
