"""Checking a published folder: `embconvert verify`."""

import contextlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.fidelity.embedding import WorkloadRun
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor, floor_for, shortfall
from embconvert.fidelity.texts import verification_items
from embconvert.fidelity.workload import workload_for
from embconvert.folder.disk import output_errors
from embconvert.folder.published import copy_listed, problem_of, published_manifest
from embconvert.foreign_text import one_line
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, ArtifactRecord, Manifest
from embconvert.manifest.codec import fidelity_as_json
from embconvert.manifest.requesting import request_from
from embconvert.models.choices import Command, Precision
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.pipeline.source_process import Source, tokenize_apart
from embconvert.pipeline.tasks import check_given_graph, embed_with_graph, files_of_weights
from embconvert.pipeline.verifier import Verifier
from embconvert.processes.limits import refuse_missing_proc
from embconvert.processes.resources import available_memory_bytes, limit_threads
from embconvert.processes.workers import Worker, WorkerCrashed, Workers
from embconvert.regular_files import open_regular
from embconvert.request.records import Finished, Request, VerifyRequest
from embconvert.source.kind import settle_kind

# What a cosine may lose on another kind of CPU: int8 kernels add up in another order.
_TOLERANCE = 0.005
_FLOAT32_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What was found of one graph.

    Attributes:
        record: What the manifest says of it.
        fidelity: To the source, measured now; None without a source.
    """

    record: ArtifactRecord
    fidelity: Fidelity | None


def verify(request: VerifyRequest) -> Finished:
    """Checks a folder: manifest, hashes, that every graph runs, and its fidelity to a source.

    Nothing in the folder is changed.

    Returns:
        For stdout a line for each graph; with `json` all figures.

    Raises:
        UsageError: No conversion published the folder.
        SourceError: The manifest is broken, or a file is missing or changed; or the
            source cannot be had.
        FidelityError: A graph does not load, does not run, gives values that are not numbers, or
            is further from the source than the manifest says.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    manifest = published_manifest(request.folder)
    _check_files(request.folder, manifest, console)
    if not manifest.artifacts:
        raise SourceError(f"{request.folder} has no graph", "convert the model again")
    refuse_missing_proc()
    limit_threads()
    # The source adds what its files lack, and must not do so in the folder. What is read from here
    # on is what was compared with the manifest.
    with (
        Workers(console, graph_seconds=request.max_graph_seconds) as workers,
        tempfile.TemporaryDirectory() as name,
        output_errors(Path(name), "set TMPDIR to a folder with more room"),
    ):
        scratch = Path(name)
        (scratch / ".work").mkdir()
        for file in manifest.files:
            copy_listed(request.folder, file, scratch)
        _check_graphs(request.folder, manifest, workers)
        if request.against is None:
            checked = _run_graphs(request.folder, scratch, manifest, workers, console)
        else:
            checked = _compare_with_source(request, scratch, manifest, workers, console)
    return Finished(text=_as_json(request, checked) if request.json else _as_lines(checked))


def _check_files(folder: Path, manifest: Manifest, console: Console) -> None:
    """Compares every file with the manifest; a model card may be the user's own.

    Raises:
        SourceError: One is missing or changed, or is no regular file.
    """
    with contextlib.suppress(FileNotFoundError):
        open_regular(
            folder, CARD_FILE, hint=f"remove it, then run: embconvert report {folder}"
        ).close()
    records = [record for record in manifest.records() if record.path != CARD_FILE]
    total = round(sum(record.size_bytes for record in records) / 1e6)
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
            "convert the model again; what is whole is kept",
        )
    listed = manifest.paths()
    for path in sorted((folder / "onnx").glob("*")):
        if path.relative_to(folder).as_posix() not in listed:
            console.warn(f"{path} is in no manifest: embconvert did not make it")


def _check_graphs(folder: Path, manifest: Manifest, workers: Workers) -> None:
    """Checks every graph before any is run: the manifest may be somebody's, too.

    Raises:
        EmbconvertError: One will not do.
    """
    for record in manifest.artifacts:
        try:
            with workers.take(record.total_size_bytes) as worker:
                worker.call(check_given_graph, folder / record.path)
        except WorkerCrashed as crash:
            raise SourceError(
                f"{record.path} cannot be read: {crash}", "convert the model again"
            ) from crash


def _run_graphs(
    folder: Path, scratch: Path, manifest: Manifest, workers: Workers, console: Console
) -> list[_Checked]:
    """Runs every graph on the built-in texts, as a consumer would: without any source.

    Args:
        folder: Has the graphs.
        scratch: Has the other files.
        manifest: Of the folder.
        workers: Where graphs run.
        console: For messages.
    """
    if not (scratch / "tokenizer.json").exists():
        raise SourceError(
            f"{folder / MANIFEST_FILE} lists no tokenizer.json", "convert the model again"
        )
    length = manifest.source.max_seq_length
    texts = verification_items(KINDS[manifest.kind].reading)
    tokens = tokenize_apart(
        workers, scratch, texts.items, max_length=length, late=manifest.source.late_interaction
    )
    present = [i for i, count in enumerate(tokens.lengths) if count]
    tokens = tokens.subset(present)
    # Two operations for each weight, which is at most four bytes in the largest file.
    largest = max(record.total_size_bytes for record in manifest.artifacts)
    wide = (manifest.source.dimension or 0) if manifest.kind is Kind.SPARSE else 0
    items = [texts.items[i] for i in present]
    workload = workload_for(items, tokens.lengths, largest / 2, wide)
    for record in manifest.artifacts:
        with (
            console.progress(f"running {record.path}", workload.size) as advance,
            workers.take(record.total_size_bytes) as worker,
        ):
            try:
                _check_weights(folder, record, worker)
                run: WorkloadRun | str = worker.call(
                    embed_with_graph,
                    record.artifact(folder),
                    tokens,
                    workload,
                    layer_by_layer=_is_short_of_memory(manifest),
                    kind=manifest.kind,
                    advance=advance,
                )
            except WorkerCrashed as crash:
                run = str(crash)
        if isinstance(run, str):
            raise _drifted(record, run)
        if not run.embeddings.is_finite:
            raise _drifted(record, "it gives values that are not numbers")
    return [_Checked(record=record, fidelity=None) for record in manifest.artifacts]


def _check_weights(folder: Path, record: ArtifactRecord, worker: Worker) -> None:
    """Refuses a graph whose weights are in another file than the one that was compared.

    Raises:
        SourceError: They are.
        FidelityError: It is no graph.
    """
    found: tuple[str, ...] | str = worker.call(files_of_weights, folder / record.path)
    if isinstance(found, str):
        raise _drifted(record, found)
    external = record.external_data
    listed = () if external is None else (external.path.rpartition("/")[2],)
    if found != listed:
        raise SourceError(
            f"{folder / record.path} reads {', '.join(found) or 'no other file'}, and the manifest "
            f"lists {', '.join(listed) or 'none'} for its weights",
            "convert the model again",
        )


def _is_short_of_memory(manifest: Manifest) -> bool:
    """Whether the largest graph would not fit twice: ONNX Runtime holds a part of it twice."""
    largest = max(record.total_size_bytes for record in manifest.artifacts)
    return available_memory_bytes() < 2 * largest


def _compare_with_source(
    request: VerifyRequest, scratch: Path, manifest: Manifest, workers: Workers, console: Console
) -> list[_Checked]:
    conversion = _conversion(request, manifest)
    resolved = settle_kind(conversion, hub.resolve(conversion, console))
    if resolved.digest != manifest.source.digest:
        console.warn(f"{request.against} is not the source as it was when this was converted")
    source = Source(conversion, resolved, scratch, workers, console)
    verifier = Verifier(
        source,
        workers,
        console,
        skipped=False,
        layer_by_layer=_is_short_of_memory(manifest),
        flop_per_token=resolved.flop_per_token,
        wide_values=resolved.wide_values,
    )
    checked = []
    for record in manifest.artifacts:
        try:
            with workers.take() as worker:
                _check_weights(request.folder, record, worker)
        except WorkerCrashed as crash:
            raise _drifted(record, str(crash)) from crash
        try:
            fidelity = verifier.verify(record.artifact(request.folder), record.path)
        except FidelityError as error:
            raise _drifted(record, error.message.partition(": ")[2] or error.message) from error
        problem = shortfall(fidelity, _floor(record, request.min_cosine, manifest.measure))
        if problem is not None:
            raise _drifted(record, problem)
        checked.append(_Checked(record=record, fidelity=fidelity))
    if any(problem_of(scratch, file) for file in manifest.files):
        raise FidelityError(
            "the published tokenizer.json gives other tokens than the source",
            "convert the model again",
        )
    return checked


def _conversion(request: VerifyRequest, manifest: Manifest) -> Request:
    """Returns the request that loads the source as the conversion did."""
    assert request.against is not None
    asked = Request(
        command=Command.EXPORT,
        model_id=request.against,
        trust_remote_code=request.trust_remote_code,
        cache_dir=request.cache_dir,
        offline=request.offline,
        quiet=request.quiet,
        debug=request.debug,
    )
    is_local = hub.local_folder(request.against) is not None
    return request_from(manifest, asked, is_local=is_local)


def _floor(record: ArtifactRecord, min_cosine: float | None, measure: Measure) -> Floor:
    """Returns what a graph must reach: what it reached when it was made, less a little."""
    if min_cosine is not None or record.fidelity is None:
        return floor_for(record.precision, min_cosine, measure)
    exact = record.precision is Precision.FLOAT32
    return Floor(
        mean_cosine=record.fidelity.similarity.mean - (_FLOAT32_TOLERANCE if exact else _TOLERANCE)
    )


def _drifted(record: ArtifactRecord, problem: str) -> FidelityError:
    return FidelityError(
        f"{record.path} is not what it was: {problem}",
        "convert the model again, or look for what changed: its source, the libraries, the CPU",
    )


def _as_lines(checked: list[_Checked]) -> str:
    lines = []
    for graph in checked:
        figure = "loads and runs; not compared with its source"
        if graph.fidelity is not None:
            near = graph.fidelity.similarity
            figure = f"mean {near.measure} {near.mean:.5f}"
            if graph.record.fidelity is not None:
                figure += f" (when converted {graph.record.fidelity.similarity.mean:.5f})"
        lines.append(one_line(f"{graph.record.path}: {figure}"))
    return "\n".join(lines)


def _as_json(request: VerifyRequest, checked: list[_Checked]) -> str:
    graphs = [
        {
            "path": graph.record.path,
            "sha256": graph.record.sha256,
            "fidelity": fidelity_as_json(graph.fidelity) if graph.fidelity else None,
        }
        for graph in checked
    ]
    value: dict[str, Any] = {
        "folder": str(request.folder),
        "against": request.against,
        "graphs": graphs,
    }
    return json.dumps(value, indent=2)
