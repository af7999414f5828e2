"""`embconvert diff`: compares two graphs text by text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError, UsageError
from embconvert.evaluation.differences import MAX_TEXTS, TextDifference, differences
from embconvert.evaluation.lines import DataFile
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item, Plain, Prompted, batches, plain, verification_items
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.foreign_text import one_line
from embconvert.manifest import MANIFEST_FILE, ArtifactRecord, Manifest
from embconvert.models.forms import ENDINGS, most_tokens
from embconvert.models.kinds import KINDS, Kind, Reading
from embconvert.pipeline.checked_folder import at_work, check_graphs, run_published
from embconvert.pipeline.evaluated import Opened, open_folders, similarity_of
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import finish
from embconvert.processes.workers import Workers
from embconvert.request.records import DiffRequest, Finished
from embconvert.tables import Column

_TEXT_WIDTH = 60


@dataclass(frozen=True, kw_only=True)
class _PublishedGraph:
    """A graph in a published folder whose files were compared with its manifest."""

    opened: Opened
    record: ArtifactRecord

    @property
    def path(self) -> Path:
        return self.opened.folder / self.record.path

    @property
    def manifest(self) -> Manifest:
        return self.opened.manifest


def diff(request: DiffRequest) -> Finished:
    """Compares two graphs for the command line; nothing is changed.

    Returns:
        One line with the figures over all texts; with `json`, those of each text, too.

    Raises:
        UsageError: A path is no published folder and no graph in one, the graphs are of different
            kinds, or the texts cannot be read.
        SourceError: A folder is damaged.
        FidelityError: A graph does not run.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    with at_work(console, request.max_graph_seconds) as (workers, scratch):
        folders = [_folder_of(path) for path in (request.first, request.second)]
        opened = {
            folder: _open(folder, scratch / f"{number}", console)
            for number, folder in enumerate(dict.fromkeys(folders))
        }
        first, second = (
            _graph(path, opened[folder])
            for path, folder in zip((request.first, request.second), folders, strict=True)
        )
        kind = _kind_of_both(first, second)
        for graph in (first, second):
            check_graphs(graph.opened.folder, [graph.record], workers)
        texts = _texts(request.texts, KINDS[kind].reading)
        tokens = [_tokens(graph, texts, workers) for graph in (first, second)]
        present = [
            index for index in range(len(texts)) if all(found.lengths[index] for found in tokens)
        ]
        if not present:
            raise UsageError(
                f"none of the {len(texts)} texts has tokens",
                "give a file with other texts, one per line: --texts FILE",
            )
        if len(present) < len(texts):
            console.say(f"{len(texts) - len(present)} texts have no tokens and are skipped")
        ours, theirs = (
            _embed(graph, found.subset(present), workers, console)
            for graph, found in zip((first, second), tokens, strict=True)
        )
        found = differences(kind, ours, theirs, similarity_of(first.opened))
    chosen = [texts[index] for index in present]
    if request.json:
        return Finished(text=json.dumps(_as_json(first, second, found, chosen), indent=2))
    console.table(f"{first.path} -> {second.path}", *_table(found[: request.limit], chosen))
    return Finished(text=_summary(found, first))


def _folder_of(path: Path) -> Path:
    """Returns the published folder that a graph is in; a folder itself.

    Raises:
        UsageError: The path is another file.
    """
    if path.suffix not in ENDINGS or path.is_dir():
        if path.is_file():
            raise UsageError(
                f"{path} is neither a folder nor a graph",
                "give a folder published by embconvert, or a graph in one",
            )
        return path
    return next((above for above in path.parents if (above / MANIFEST_FILE).is_file()), path.parent)


def _open(folder: Path, scratch: Path, console: Console) -> Opened:
    """Checks a folder; raises UsageError if it has a folder for each route."""
    opened = open_folders(folder, scratch, console)
    if len(opened) > 1:
        raise UsageError(f"{folder} has a folder for each route", f"name one: {opened[0].folder}")
    return opened[0]


def _graph(path: Path, opened: Opened) -> _PublishedGraph:
    """Returns the graph of a path; of a folder, the recommended one."""
    graphs = opened.manifest.artifacts
    best = opened.manifest.recommended
    wanted = best.path if best is not None else graphs[0].path
    if path != opened.folder:
        wanted = path.relative_to(opened.folder).as_posix()
    record = next((graph for graph in graphs if graph.path == wanted), None)
    if record is None:
        raise UsageError(
            f"{path} is not a graph of {opened.folder}",
            f"it has: {', '.join(graph.path for graph in graphs)}",
        )
    if most_tokens(record.forms) is not None:
        raise UsageError(
            f"{path} has a fixed shape, which longer texts do not fit",
            "give the graph that it was derived from",
        )
    return _PublishedGraph(opened=opened, record=record)


def _kind_of_both(first: _PublishedGraph, second: _PublishedGraph) -> Kind:
    kinds = [graph.manifest.kind for graph in (first, second)]
    if kinds[0] is not kinds[1]:
        words = " and ".join(KINDS[kind].words for kind in kinds)
        raise UsageError(f"{words} cannot be compared", "give two graphs of one kind")
    return kinds[0]


def _texts(path: Path | None, reading: Reading) -> list[Plain]:
    """Returns the texts, or pairs, to compare graphs on."""
    if path is None:
        items = verification_items(Reading.PAIR if reading is Reading.PAIR else Reading.TEXT)
        return [plain(item) for item in items.items]
    file = DataFile(path=path)
    found: list[Plain] = []
    for line in file.lines():
        first, tab, second = line.partition("\t")
        if not line.strip():
            continue
        if reading is Reading.PAIR and not tab:
            raise file.error("it is not a pair", "write two texts with a tab between them")
        found.append((first, second) if reading is Reading.PAIR else line)
        if len(found) > MAX_TEXTS:
            raise file.error(f"it has more than {MAX_TEXTS:,} texts", "give fewer texts")
    if not found:
        raise UsageError(f"{path} has no texts", "write one text per line")
    return found


def _tokens(graph: _PublishedGraph, texts: Sequence[Plain], workers: Workers) -> TokenizedTexts:
    source = graph.manifest.source
    prompt = source.prompts.usual
    items: list[Item] = [Prompted(text, prompt) if prompt else text for text in texts]
    return finish(
        tokenize_apart(workers, graph.opened.scratch, items, rules=source.model.input_rules)
    )


def _embed(
    graph: _PublishedGraph, tokens: TokenizedTexts, workers: Workers, console: Console
) -> Embeddings:
    """Returns a row for each text, in order."""
    groups = tuple(map(tuple, batches(tokens.lengths)))
    workload = Workload(similar=groups, mixed=groups[-1][-1:])
    opened = graph.opened
    try:
        run = run_published(
            opened.folder, opened.manifest, graph.record, tokens, workload, workers, console
        )
    except WorkerCrashed as crash:
        raise SourceError(f"{graph.path} cannot be compared: {crash}", crash.hint) from crash
    if isinstance(run, str):
        raise FidelityError(f"{graph.path} cannot be compared: {run}", "convert it again")
    order = np.argsort([index for group in groups for index in group])
    return run.embeddings.rows(order.tolist())


def _table(
    found: Sequence[TextDifference], texts: Sequence[Plain]
) -> tuple[list[Column], list[list[str]]]:
    columns = [Column(title="text", is_sentence=True), Column(title="similarity")]
    columns += [Column(title="neighbours kept")] if found[0].kept is not None else []
    columns += [Column(title="first"), Column(title="second")] if found[0].scores else []
    rows = []
    for one in found:
        row = [_short(texts[one.text])]
        row.append("-" if one.similarity is None else f"{one.similarity:.5f}")
        row += [] if one.kept is None else [f"{one.kept:.0%}"]
        row += [f"{score:.4f}" for score in one.scores or ()]
        rows.append(row)
    return columns, rows


def _short(text: Plain) -> str:
    return one_line(text if isinstance(text, str) else " | ".join(text), _TEXT_WIDTH)


def _summary(found: Sequence[TextDifference], graph: _PublishedGraph) -> str:
    parts = [f"{len(found)} texts"]
    similarities = [one.similarity for one in found if one.similarity is not None]
    measure = KINDS[graph.manifest.kind].measure
    if similarities:
        parts.append(f"mean {measure} {np.mean(similarities):.5f}")
        parts.append(f"lowest {min(similarities):.5f}")
    else:
        parts.append("the outputs have different sizes")
    kept = [one.kept for one in found if one.kept is not None]
    if kept:
        parts.append(f"{np.mean(kept):.1%} of nearest neighbours kept")
    return ", ".join(parts)


def _as_json(
    first: _PublishedGraph,
    second: _PublishedGraph,
    found: Sequence[TextDifference],
    texts: Sequence[Plain],
) -> dict[str, Any]:
    return {
        "first": _graph_as_json(first),
        "second": _graph_as_json(second),
        "measure": str(KINDS[first.manifest.kind].measure),
        "texts": [
            {
                "text": texts[one.text],
                "similarity": one.similarity,
                "kept_neighbours": one.kept,
                "scores": one.scores,
            }
            for one in found
        ],
    }


def _graph_as_json(graph: _PublishedGraph) -> dict[str, Any]:
    return {
        "folder": str(graph.opened.folder),
        "path": graph.record.path,
        "sha256": graph.record.sha256,
        "model_id": graph.manifest.source.model_id,
    }
