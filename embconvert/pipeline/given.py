"""Reads and checks the untrusted graph of `--model_path`."""

from pathlib import Path

from embconvert.errors import MORE_MEMORY, EmbconvertError, SourceError
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.tasks import read_given_graph, try_graph
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import Work
from embconvert.processes.workers import Workers


def read_model_path(path: Path, work: Path, workers: Workers) -> OnnxArtifact:
    """Reads and loads the graph.

    Args:
        work: Folder for temporary files.

    Raises:
        SourceError: It cannot be used.
        UnsupportedModelError: It uses something that embconvert does not convert.
    """
    size = path.stat().st_size if path.is_file() else 0
    try:
        with workers.take(size) as worker:
            artifact: OnnxArtifact = worker.call(read_given_graph, path, work)
    except WorkerCrashed as crash:
        raise SourceError(
            f"{path.name} cannot be loaded: {crash}",
            MORE_MEMORY if crash.out_of_memory else "export the model again",
        ) from crash
    return artifact


def blame_given(given: OnnxArtifact, failure: EmbconvertError, workers: Workers) -> Work[None]:
    """Raises SourceError, in the work, if the given graph does not run, and so is to blame."""
    try:
        with workers.take(given.total_size_bytes) as worker:
            problem: str | None = yield worker.begin(try_graph, given)
    except WorkerCrashed as crash:
        problem = str(crash)
    if problem is not None:
        raise SourceError(
            f"{given.path.name} does not run: {problem}",
            "use a graph that ONNX Runtime runs on this machine, or export the model again",
        ) from failure
