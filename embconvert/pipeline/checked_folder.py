"""Checks a published folder before its graphs run; the folder and its manifest may be untrusted."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.fidelity.embedding import WorkloadRun
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.folder.disk import output_errors
from embconvert.folder.published import copy_listed, problem_of, published_manifest
from embconvert.manifest import CARD_FILE, ArtifactRecord, Manifest
from embconvert.pipeline.tasks import check_given_graph, embed_with_graph, files_of_weights
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.limits import refuse_missing_proc
from embconvert.processes.resources import limit_threads
from embconvert.processes.worker import Worker
from embconvert.processes.workers import Workers
from embconvert.regular_files import open_regular


@contextlib.contextmanager
def at_work(console: Console, graph_seconds: int | None) -> Iterator[tuple[Workers, Path]]:
    """Yields what starts processes for a folder's graphs, and a folder for temporary files."""
    refuse_missing_proc()
    limit_threads()
    with (
        Workers(console, graph_seconds=graph_seconds) as workers,
        tempfile.TemporaryDirectory() as name,
        output_errors(Path(name), "set TMPDIR to a folder with more space"),
    ):
        yield workers, Path(name)


def checked_manifest(folder: Path, console: Console) -> Manifest:
    """Returns a folder's manifest after comparing every file with it.

    Raises:
        UsageError: embconvert did not publish the folder.
        SourceError: The manifest is invalid or lists no graph, or a file is missing or changed.
    """
    manifest = published_manifest(folder)
    _check_files(folder, manifest, console)
    if not manifest.artifacts:
        raise SourceError(f"{folder} has no graph", "convert the model again")
    return manifest


def copy_files(folder: Path, manifest: Manifest, scratch: Path) -> None:
    """Copies a folder's files, without its graphs, to a new folder that libraries may change."""
    (scratch / ".work").mkdir(parents=True)
    for file in manifest.files:
        copy_listed(folder, file, scratch)


def _check_files(folder: Path, manifest: Manifest, console: Console) -> None:
    """Raises SourceError for a changed file, except for the model card, which users may edit."""
    with contextlib.suppress(FileNotFoundError):
        open_regular(
            folder, CARD_FILE, hint=f"remove it, then run: embconvert report {folder}"
        ).close()
    records = [record for record in manifest.records() if record.path != CARD_FILE]
    total = round(sum(record.size_bytes for record in records) / 1e6)
    console.say(f"checking {folder}")
    with console.progress(f"checking {folder} (MB)", total) as advance:
        damaged = []
        for record in records:
            problem = problem_of(folder, record)
            damaged += [] if problem is None else [problem]
            advance(round(record.size_bytes / 1e6))
    if damaged:
        more = f", and {len(damaged) - 1} more files" if len(damaged) > 1 else ""
        raise SourceError(
            f"{folder} is damaged: {damaged[0]}{more}",
            "convert the model again; undamaged graphs are kept",
        )
    listed = manifest.paths()
    for path in sorted([*(folder / "onnx").glob("*"), *(folder / "openvino").glob("*")]):
        if path.relative_to(folder).as_posix() not in listed:
            console.warn(f"{path} is not listed in the manifest; embconvert did not make it")


def check_graphs(folder: Path, records: Sequence[ArtifactRecord], workers: Workers) -> None:
    """Raises EmbconvertError for a graph that cannot be run; the folder may be untrusted."""
    for record in records:
        try:
            with workers.take(record.total_size_bytes) as worker:
                worker.call(check_given_graph, folder / record.path, record.forms)
        except WorkerCrashed as crash:
            raise SourceError(
                f"{record.path} cannot be read: {crash}", "convert the model again"
            ) from crash


def check_weights(folder: Path, record: ArtifactRecord, worker: Worker) -> None:
    """Raises SourceError for a graph that reads its weights from another file than listed."""
    found: tuple[str, ...] | str = worker.call(files_of_weights, folder / record.path, record.forms)
    if isinstance(found, str):
        raise changed(record, found)
    external = record.external_data
    listed = () if external is None else (external.path.rpartition("/")[2],)
    if found != listed:
        raise SourceError(
            f"{folder / record.path} reads {', '.join(found) or 'no other file'}, but the manifest "
            f"lists {', '.join(listed) or 'none'} for its weights",
            "convert the model again",
        )


def run_published(
    folder: Path,
    manifest: Manifest,
    record: ArtifactRecord,
    tokens: TokenizedTexts,
    workload: Workload,
    workers: Workers,
    console: Console,
    *,
    layer_by_layer: bool = False,
) -> WorkloadRun | str:
    """Runs a graph over a workload with its rest; returns the problem in words if that fails.

    Raises:
        SourceError: It reads its weights from another file than listed.
        WorkerCrashed: Its process ended.
    """
    with (
        console.progress(f"running {record.path}", workload.size) as advance,
        workers.take(record.total_size_bytes) as worker,
    ):
        check_weights(folder, record, worker)
        run: WorkloadRun | str = worker.call(
            embed_with_graph,
            record.artifact(folder),
            tokens,
            workload,
            layer_by_layer=layer_by_layer,
            kind=manifest.kind,
            rules=manifest.source.output_rules,
            runs_rest=True,
            advance=advance,
        )
    if not isinstance(run, str) and not (run.embeddings.is_finite and run.is_rest_finite):
        return "it computes values that are not numbers"
    return run


def changed(record: ArtifactRecord, problem: str) -> FidelityError:
    """Returns the error of a graph that is not what its manifest says."""
    return FidelityError(
        f"{record.path} has changed: {problem}",
        "convert the model again, or find the change: its source, the libraries, the CPU",
    )
