"""What `embconvert evaluate` compares: the graphs of a folder, or of its two routes."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.evaluation.cache import Cache, cache_folder
from embconvert.evaluation.data import DataForm, Dataset
from embconvert.evaluation.evaluating import Sides
from embconvert.evaluation.outputs import CachedOutputs
from embconvert.evaluation.records import SOURCE_ROW
from embconvert.evaluation.running import GraphRunner
from embconvert.evaluation.scoring import SIMILARITIES, scoring_for
from embconvert.json_files import read_json
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.layouts import is_of_layout
from embconvert.models.choices import Precision
from embconvert.models.kinds import KINDS, Kind, Reading
from embconvert.models.prompts import Prompts
from embconvert.models.routes import USUAL_TASKS
from embconvert.pipeline.against import named_source
from embconvert.pipeline.checked_folder import checked_manifest, copy_files
from embconvert.pipeline.computing import GraphRows, SourceRows
from embconvert.pipeline.route_folders import routes_to_check
from embconvert.pipeline.source_process import SourceProcess
from embconvert.processes.workers import Workers
from embconvert.request.records import EvaluateRequest

_SETTINGS = "config_sentence_transformers.json"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A published folder whose files were compared; `scratch` has copies, except of the graphs."""

    folder: Path
    scratch: Path
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One row of an evaluation: a graph, those of two routes, or the source.

    Attributes:
        path: Of the graph in its folder, or SOURCE_ROW.
        queries: Outputs for queries.
        documents: Outputs for documents.
    """

    path: str
    precision: Precision
    size_bytes: int | None
    digests: tuple[str, ...]
    queries: CachedOutputs
    documents: CachedOutputs

    def end(self) -> None:
        """Ends the processes that compute them."""
        self.queries.end()
        self.documents.end()


def open_folders(folder: Path, scratch: Path, console: Console) -> list[Opened]:
    """Checks a folder and returns it; of a model with routes, those of queries and documents.

    Raises:
        UsageError: embconvert did not publish it, or a route is missing.
        SourceError: A file is missing or changed.
    """
    routes = routes_to_check(folder, console)
    opened = []
    for name in routes or ("",):
        where = folder / name
        manifest = checked_manifest(where, console)
        copy = scratch / (name or "folder")
        copy_files(where, manifest, copy)
        opened.append(Opened(folder=where, scratch=copy, manifest=manifest))
    return opened if not routes else [_route_for(task, opened, folder) for task in USUAL_TASKS]


def _route_for(task: str, opened: Sequence[Opened], folder: Path) -> Opened:
    for one in opened:
        route = one.manifest.source.route
        if route is not None and task in route.tasks:
            return one
    raise UsageError(
        f"{folder} has no route for {task} texts, so nothing can be searched",
        "convert the model again without --route, which publishes all routes",
    )


def sides_of(opened: Sequence[Opened], data: Dataset) -> Sides:
    """Returns how texts become inputs: with the prompts for search, or the usual ones."""
    reading = KINDS[opened[0].manifest.kind].reading
    first, last = (opened[place].manifest.source.prompts for place in (0, -1))
    return sides_from(reading, first, last, data)


def sides_from(reading: Reading, of_query: Prompts, of_document: Prompts, data: Dataset) -> Sides:
    """As sides_of(), from the prompts of the model that embeds queries, and documents."""
    query, document = of_query.usual, of_document.usual
    if data.form is DataForm.RETRIEVAL and reading is Reading.TEXT:
        query, document = of_query.for_search[0], of_document.for_search[1]
    return Sides(reading=reading, query_prompt=query, document_prompt=document)


def similarity_of(opened: Opened) -> str | None:
    """Returns how the model's outputs are compared; None for scores of pairs."""
    return similarity_in(opened.scratch, opened.manifest.kind)


def similarity_in(folder: Path, kind: Kind) -> str | None:
    """As similarity_of(), from a folder with the model's settings."""
    usual = scoring_for(kind).similarity
    path = folder / _SETTINGS
    if usual not in SIMILARITIES or not path.exists():
        return usual
    said = read_json(path).get("similarity_fn_name")
    return said if isinstance(said, str) and said in SIMILARITIES else usual


def compared_graphs(
    opened: Sequence[Opened], files: Sequence[str], workers: Workers, console: Console
) -> list[Compared]:
    """Returns the graphs to compare: the exported float32 one first, if there is one.

    Of two routes, graphs of one path belong together; a route without such a graph takes its
    float32 one.

    Args:
        files: Paths or names; empty means all.

    Raises:
        UsageError: There is no such file.
    """
    queries, documents = opened[0], opened[-1]
    made, layout = documents.manifest.artifacts, documents.manifest.layout
    own = [record for record in made if is_of_layout(layout, record.forms)]
    if len(own) < len(made):
        further = ", ".join(record.path for record in made if record not in own)
        console.say(f"not evaluated: {further}; evaluate what they were derived from")
    records = sorted(own, key=lambda record: record.made_from is not None)
    known = {alias for record in records for alias in _aliases(record)}
    unknown = next((name for name in files if name not in known), None)
    if unknown is not None:
        raise UsageError(
            f"{documents.folder} has no graph {unknown} to evaluate",
            f"it has: {', '.join(record.path for record in records)}",
        )
    chosen = [
        record
        for record in records
        if not files or record.made_from is None or not _aliases(record).isdisjoint(files)
    ]
    found = []
    for record in chosen:
        pair = [(documents, record)]
        if queries is not documents:
            pair.insert(0, (queries, _counterpart(queries.manifest, record)))
        rows = [_rows_of(one, graph, workers, console) for one, graph in pair]
        found.append(
            Compared(
                path=record.path,
                precision=record.precision,
                size_bytes=sum(graph.total_size_bytes for _, graph in pair),
                digests=tuple(graph.sha256 for _, graph in pair),
                queries=rows[0],
                documents=rows[-1],
            )
        )
    return found


def _aliases(record: ArtifactRecord) -> set[str]:
    name = record.path.rpartition("/")[2]
    return {record.path, name, name.rpartition(".")[0], str(record.precision)}


def _counterpart(manifest: Manifest, record: ArtifactRecord) -> ArtifactRecord:
    same = (graph for graph in manifest.artifacts if graph.path == record.path)
    return next(same, manifest.exported or manifest.artifacts[0])


def _rows_of(
    opened: Opened, record: ArtifactRecord, workers: Workers, console: Console
) -> CachedOutputs:
    source = opened.manifest.source
    make = partial(
        GraphRunner,
        record.artifact(opened.folder),
        opened.scratch,
        kind=opened.manifest.kind,
        rules=source.model.input_rules,
        output_rules=source.output_rules,
    )
    computes = GraphRows(make, record.total_size_bytes, record.path, workers)
    tokenizer = [file.sha256 for file in opened.manifest.files if file.path == "tokenizer.json"]
    rules = f"{source.model.input_rules} {source.output_rules}"
    identity = f"{record.digest} {tokenizer} {rules} {_stack(*_packages(record))}"
    return _kept(computes, identity, console)


def _kept(computes: GraphRows | SourceRows, identity: str, console: Console) -> CachedOutputs:
    return CachedOutputs(computes, Cache(cache_folder("evaluations"), identity, console.say))


def _packages(record: ArtifactRecord) -> tuple[str, ...]:
    """Returns the package that runs a graph; none if it is missing, which running it says."""
    package = "openvino" if record.forms else "onnxruntime"
    return (package,) if importlib.util.find_spec(package) else ()


def _stack(*packages: str) -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return f"{versions} {platform.machine()}"


def compared_source(
    opened: Sequence[Opened], request: EvaluateRequest, workers: Workers, console: Console
) -> Compared:
    """Returns the source, to compare with it; raises SourceError if it is another."""
    rows = []
    for one in opened:
        conversion, resolved = named_source(request, one.manifest, console)
        computes = SourceRows(SourceProcess(conversion, resolved, one.scratch, workers, console))
        identity = f"{one.manifest.source} {_stack('torch', 'sentence-transformers')}"
        rows.append(_kept(computes, identity, console))
    return Compared(
        path=SOURCE_ROW,
        precision=Precision.FLOAT32,
        size_bytes=None,
        digests=(),
        queries=rows[0],
        documents=rows[-1],
    )
