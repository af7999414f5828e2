"""`embconvert verify`: checks a published folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import floor_for, shortfall, shortfall_near
from embconvert.fidelity.texts import verification_items
from embconvert.fidelity.workload import ALL_TEXTS, Workload, workload_for
from embconvert.folder.published import problem_of
from embconvert.foreign_text import one_line
from embconvert.manifest import MANIFEST_FILE, ArtifactRecord, Manifest
from embconvert.models.forms import most_tokens
from embconvert.models.json_records import as_json
from embconvert.models.kinds import KINDS
from embconvert.pipeline.against import named_source
from embconvert.pipeline.checked_folder import (
    at_work,
    changed,
    check_graphs,
    check_weights,
    checked_manifest,
    copy_files,
    run_published,
)
from embconvert.pipeline.reference import Reference, make_reference
from embconvert.pipeline.route_folders import joined, routes_to_check
from embconvert.pipeline.source_process import SourceProcess, tokenize_apart
from embconvert.pipeline.verifier import Verifier
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.resources import available_memory_bytes
from embconvert.processes.worker import finish
from embconvert.processes.workers import Workers
from embconvert.request.records import Finished, VerifyRequest


@dataclass(frozen=True, kw_only=True)
class CheckedGraph:
    """A graph, and its figures measured now; None without a source."""

    record: ArtifactRecord
    fidelity: Fidelity | None


def verify(request: VerifyRequest) -> Finished:
    """Checks a folder for the command line: prints a line per graph, or with `json` all figures."""
    console = Console(quiet=request.quiet, debug=request.debug)
    results = {
        name: Finished(text=_as_text(replace(request, folder=request.folder / name), checked))
        for name, checked in verify_folder(request, console).items()
    }
    return results[""] if "" in results else joined(results, as_json=request.json)


def verify_folder(request: VerifyRequest, console: Console) -> Mapping[str, Sequence[CheckedGraph]]:
    """Checks a folder: manifest, hashes, that every graph runs, and its fidelity to a source.

    Of the folder of an asymmetric model, that of each route. Nothing in the folder is changed.

    Returns:
        The graphs by route; under "" for a folder without routes.

    Raises:
        UsageError: The folder is not published by embconvert.
        SourceError: The manifest is invalid, a file is missing or changed, or the source is
            unavailable.
        FidelityError: A graph does not load or run, computes values that are not numbers, or is
            less similar to the source than the manifest says.
    """
    routes = routes_to_check(request.folder, console)
    return {
        name: _verify(replace(request, folder=request.folder / name), console)
        for name in routes or ("",)
    }


def _verify(request: VerifyRequest, console: Console) -> list[CheckedGraph]:
    manifest = checked_manifest(request.folder, console)
    # A copy: loading the source adds missing files, which must not change the folder. From here on
    # only files that were compared with the manifest are read.
    with at_work(console, request.max_graph_seconds) as (workers, scratch):
        copy_files(request.folder, manifest, scratch)
        check_graphs(request.folder, manifest.artifacts, workers)
        if request.against is None:
            return _run_graphs(request.folder, scratch, manifest, workers, console)
        return _compare_with_source(request, scratch, manifest, workers, console)


def _run_graphs(
    folder: Path, scratch: Path, manifest: Manifest, workers: Workers, console: Console
) -> list[CheckedGraph]:
    """Runs every graph on the built-in texts, without a source."""
    if not (scratch / "tokenizer.json").exists():
        raise SourceError(
            f"{folder / MANIFEST_FILE} does not list tokenizer.json", "convert the model again"
        )
    rules = KINDS[manifest.kind]
    texts = verification_items(rules.reading, manifest.source.prompts.distinct)
    how = manifest.source.model.input_rules
    tokens = finish(tokenize_apart(workers, scratch, texts.items, rules=how))
    present = [i for i, count in enumerate(tokens.lengths) if count]
    tokens = tokens.subset(present)
    # Two operations per weight, which has at most four bytes in the largest file.
    largest = max(record.total_size_bytes for record in manifest.artifacts)
    wide = (manifest.source.dimension or 0) if rules.has_token_logits else 0
    items = [texts.items[i] for i in present]
    workload = workload_for(items, tokens.lengths, largest / 2, wide)
    for record in manifest.artifacts:
        most = most_tokens(record.forms)
        work = workload
        if most is not None:
            fitting = {i for i, n in enumerate(tokens.lengths) if n <= most}
            try:
                work = workload.only(fitting)
            except ValueError as error:
                raise changed(record, f"{error}: its shape has {most} tokens") from error
        try:
            run = run_published(
                folder, manifest, record, tokens, work, workers, console,
                layer_by_layer=_is_short_of_memory(manifest),
            )  # fmt: skip
        except WorkerCrashed as crash:
            run = str(crash)
        if isinstance(run, str):
            raise changed(record, run)
    return [CheckedGraph(record=record, fidelity=None) for record in manifest.artifacts]


def _is_short_of_memory(manifest: Manifest) -> bool:
    """Whether the largest graph does not fit twice: ONNX Runtime copies a part of it."""
    largest = max(record.total_size_bytes for record in manifest.artifacts)
    return available_memory_bytes() < 2 * largest


def _compare_with_source(
    request: VerifyRequest, scratch: Path, manifest: Manifest, workers: Workers, console: Console
) -> list[CheckedGraph]:
    conversion, resolved = named_source(request, manifest, console)
    in_pieces = _is_short_of_memory(manifest)
    source = SourceProcess(conversion, resolved, scratch, workers, console)

    def embed(flop_per_token: float) -> Reference:
        work = make_reference(
            source,
            console,
            layer_by_layer=in_pieces,
            flop_per_token=flop_per_token,
            wide_values=resolved.wide_values,
            offers_all=False,
        )
        return finish(work)

    console.say(f"loading {conversion.model_id}")
    with console.progress(f"loading {conversion.model_id}"):
        finish(source.load(layer_by_layer=in_pieces))
    sample = embed(resolved.flop_per_token)
    complete = sample

    def needs_all(record: ArtifactRecord) -> bool:
        then = record.fidelity if request.min_cosine is None else None
        return needs_all_texts(then, sample.workload)

    if any(map(needs_all, manifest.artifacts)):
        complete = embed(ALL_TEXTS)
    source.end()
    verifier = Verifier(manifest.kind, workers, console, layer_by_layer=in_pieces)
    checked = []
    for record in manifest.artifacts:
        try:
            with workers.take() as worker:
                check_weights(request.folder, record, worker)
        except WorkerCrashed as crash:
            raise changed(record, str(crash)) from crash
        try:
            artifact = record.artifact(request.folder)
            reference = complete if needs_all(record) else sample
            fidelity = finish(verifier.verify(artifact, record.path, reference))
        except FidelityError as error:
            raise changed(record, error.message.partition(": ")[2] or error.message) from error
        problem = _problem(record, fidelity, request.min_cosine, manifest)
        if problem is not None:
            raise changed(record, problem)
        checked.append(CheckedGraph(record=record, fidelity=fidelity))
    if any(problem_of(scratch, file) for file in manifest.files):
        raise FidelityError(
            "the published tokenizer.json gives different tokens than the source",
            "convert the model again",
        )
    return checked


def needs_all_texts(then: Fidelity | None, sample: Workload) -> bool:
    """Whether a graph is compared on all texts: as when it was made, or if it must meet a floor."""
    if then is None:
        return bool(sample.rest)
    return not then.rest and then.texts + then.left_out > sample.texts


def _problem(
    record: ArtifactRecord, fidelity: Fidelity, min_cosine: float | None, manifest: Manifest
) -> str | None:
    """Returns what is too low in the figures of a graph, or None."""
    if min_cosine is not None or record.fidelity is None:
        is_bits = manifest.source.overrides.output_precision.is_bits
        floor = floor_for(record.precision, min_cosine, manifest.measure, is_bits=is_bits)
        return shortfall(fidelity, floor)
    return shortfall_near(fidelity, record.fidelity, record.precision)


def _as_text(request: VerifyRequest, checked: Sequence[CheckedGraph]) -> str:
    if request.json:
        return _as_json(request, checked)
    lines = []
    for graph in checked:
        recorded = graph.record.fidelity
        then = f" (when converted: {_in_words(recorded)})" if recorded else ""
        figure = f"loads and runs; not compared with its source (--against SOURCE does){then}"
        if graph.fidelity is not None:
            figure = f"{_in_words(graph.fidelity)}{then}"
        lines.append(one_line(f"{graph.record.path}: {figure}"))
    return "\n".join(lines)


def _in_words(fidelity: Fidelity) -> str:
    near, neighbours = fidelity.similarity, fidelity.neighbours
    kept = f", {neighbours.kept:.1%} of top {neighbours.of} kept" if neighbours else ""
    heads = (f"; {kind} head: {_in_words(figures)}" for kind, figures in fidelity.heads.items())
    left = f"; {fidelity.left_out} texts are longer than its shape" if fidelity.left_out else ""
    return f"mean {near.measure} {near.mean:.5f}{kept}{''.join(heads)}{left}"


def _as_json(request: VerifyRequest, checked: Sequence[CheckedGraph]) -> str:
    graphs = [
        {
            "path": graph.record.path,
            "sha256": graph.record.sha256,
            "fidelity": as_json(graph.fidelity) if graph.fidelity else None,
        }
        for graph in checked
    ]
    value = {"folder": str(request.folder), "against": request.against, "graphs": graphs}
    return json.dumps(value, indent=2)
