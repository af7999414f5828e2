"""`embconvert evaluate`: compares the graphs of published folders on a user's data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.evaluation.data import Dataset
from embconvert.evaluation.evaluating import Evaluator, Sides
from embconvert.evaluation.figures import Figure, Scored, figures_of
from embconvert.evaluation.intervals import loss_of
from embconvert.evaluation.reading import read_data
from embconvert.evaluation.records import (
    EVALUATION_FILE,
    EVALUATION_PAGE,
    DataRecord,
    EvaluatedGraph,
    Evaluation,
    Evaluations,
    FigureRecord,
    as_text,
)
from embconvert.evaluation.scoring import scoring_for
from embconvert.folder.disk import output_errors, refuse_unwritable
from embconvert.folder.evaluations import (
    read_evaluations,
    refuse_broken_evaluations,
    write_evaluation,
)
from embconvert.foreign_text import one_line
from embconvert.manifest import REPORT_FILE
from embconvert.pipeline.checked_folder import at_work
from embconvert.pipeline.evaluated import (
    Compared,
    Opened,
    compared_graphs,
    compared_source,
    open_folders,
    sides_of,
    similarity_of,
)
from embconvert.processes.worker import finish
from embconvert.processes.workers import Workers
from embconvert.reporting.evaluation_page import evaluation_page
from embconvert.reporting.evaluation_table import evaluation_rows, header_of
from embconvert.reporting.output_page import ELSEWHERE
from embconvert.request.records import EvaluateRequest, Finished


def evaluate(request: EvaluateRequest) -> Finished:
    """Evaluates folders for the command line.

    Returns:
        Text for stdout: the pages that were written; with `json` all figures.

    Raises:
        EmbconvertError: As evaluate_folders(), or the results cannot be written.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    found = evaluate_folders(request, console)
    if request.json:
        named = (replace(one, folder=one_line(str(path))) for path, one in found.items())
        return Finished(text=as_text(Evaluations(evaluations=tuple(named))).rstrip())
    pages = [one_line(str(_place(request, folder) / EVALUATION_PAGE)) for folder in found]
    return Finished(text="\n".join(pages))


def evaluate_folders(request: EvaluateRequest, console: Console) -> Mapping[Path, Evaluation]:
    """Compares the graphs of folders, and writes the results beside them.

    Returns:
        The evaluation of each folder.

    Raises:
        UsageError: The data is bad, or embconvert did not publish a folder.
        SourceError: A folder is damaged, or the source is unavailable.
        FidelityError: A graph does not run.
        OutputError: The results cannot be written.
    """
    found = {}
    with at_work(console, request.max_graph_seconds) as (workers, scratch):
        (scratch / "data").mkdir()
        data = read_data(request.data, scratch / "data")
        console.say(data.words)
        for folder in request.folders:
            refuse_broken_evaluations(_place(request, folder))
        # What is wrong with a later folder is told before hours of evaluating the first.
        prepared = {
            folder: _prepare(
                open_folders(folder, scratch / f"{number}", console),
                request,
                data,
                workers,
                console,
            )
            for number, folder in enumerate(request.folders)
        }
        for folder in request.folders:
            with output_errors(_place(request, folder), ELSEWHERE):
                refuse_unwritable(_place(request, folder))
        for folder, one in prepared.items():
            found[folder] = _evaluate(one, data, console)
            console.table(
                f"{folder}: {data.name}", header_of(found[folder]), evaluation_rows(found[folder])
            )
    for folder, evaluation in found.items():
        place = _place(request, folder)
        with output_errors(place, ELSEWHERE):
            place.mkdir(parents=True, exist_ok=True)
            dropped = read_evaluations(place).dropped_by(evaluation)
            if dropped:
                console.say(
                    f"{place / EVALUATION_FILE}: this replaces the figures of {', '.join(dropped)} "
                    "on the same data"
                )
            has_report = place == folder and (folder / REPORT_FILE).is_file()
            write_evaluation(place, evaluation, partial(evaluation_page, has_report=has_report))
    return found


def _place(request: EvaluateRequest, folder: Path) -> Path:
    return request.output or folder


@dataclass(frozen=True, kw_only=True)
class _ReadyFolder:
    """A folder, or the two of an asymmetric model, that can be evaluated."""

    opened: list[Opened]
    compared: list[Compared]
    sides: Sides
    similarity: str | None
    evaluator: Evaluator


def _prepare(
    opened: list[Opened],
    request: EvaluateRequest,
    data: Dataset,
    workers: Workers,
    console: Console,
) -> _ReadyFolder:
    """Raises EmbconvertError if something cannot be evaluated."""
    compared = compared_graphs(opened, request.files, workers, console)
    if request.against is not None:
        compared.insert(0, compared_source(opened, request, workers, console))
    elif opened[-1].manifest.exported is None:
        raise UsageError(
            f"{opened[-1].folder} has no float32 graph to compare with",
            "give the source: --against ID",
        )
    kind, similarity = opened[0].manifest.kind, similarity_of(opened[-1])
    sides = sides_of(opened, data)
    return _ReadyFolder(
        opened=opened,
        compared=compared,
        sides=sides,
        similarity=similarity,
        evaluator=Evaluator(data, scoring_for(kind), sides, similarity or ""),
    )


def _evaluate(prepared: _ReadyFolder, data: Dataset, console: Console) -> Evaluation:
    opened, compared, sides = prepared.opened, prepared.compared, prepared.sides
    evaluator, similarity = prepared.evaluator, prepared.similarity
    heads = [head.output for head in opened[0].manifest.source.model.heads]
    if heads:
        console.say(f"only the dense vectors are evaluated, not: {', '.join(heads)}")
    baseline: Scored | None = None
    theirs: list[Figure] = []
    graphs: list[EvaluatedGraph] = []
    for one in compared:
        console.say(f"evaluating {one.path}")
        try:
            with console.progress(f"evaluating {one.path}", evaluator.size) as advance:
                outcome = finish(evaluator.run(one.queries, one.documents, advance))
        finally:
            one.end()
        if baseline is None:
            baseline = outcome
            theirs = figures_of(data, baseline, baseline)
        graphs.append(evaluated_graph(one, figures_of(data, outcome, baseline), theirs))
    source = opened[-1].manifest.source
    routes = [one.manifest.source.route for one in opened]
    return Evaluation(
        model_id=source.model_id,
        revision=source.revision,
        routes=tuple(route.name for route in routes if route is not None),
        data=DataRecord(
            name=one_line(data.name, 200),
            form=data.form,
            digest=data.digest,
            queries=len(data.queries),
            documents=len(data.documents),
            remarks=tuple(data.remarks),
        ),
        baseline=compared[0].path,
        query_prompt=sides.query_prompt,
        document_prompt=sides.document_prompt,
        similarity=f"{similarity} of dense vectors" if heads else similarity,
        graphs=tuple(graphs),
    )


def evaluated_graph(
    compared: Compared, ours: Sequence[Figure], theirs: Sequence[Figure]
) -> EvaluatedGraph:
    """Returns the figures of a graph and their losses against the baseline's."""
    figures = []
    for figure, reference in zip(ours, theirs, strict=True):
        loss = loss_of(figure, reference)
        figures.append(
            FigureRecord(
                name=figure.name,
                value=figure.value,
                loss=loss.points,
                low=loss.low,
                high=loss.high,
                verdict=loss.verdict,
            )
        )
    return EvaluatedGraph(
        path=compared.path,
        precision=compared.precision,
        size_bytes=compared.size_bytes,
        digests=compared.digests,
        figures=tuple(figures),
    )
