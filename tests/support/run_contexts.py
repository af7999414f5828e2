"""A run without child processes and without torch: its tasks run at once, in this process.

Its source model is the graph of `graphs.embedding_model`, and the tokens of a text are its bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from embconvert.console import Console
from embconvert.errors import EmbconvertError
from embconvert.export.exporter import Exporter
from embconvert.fidelity.embedding import run_graph
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.fidelity.workload import Workload
from embconvert.folder.staging import Staging
from embconvert.manifest.building import LoadedSource
from embconvert.manifest.kinds import NOT_LOADED
from embconvert.models.kinds import Kind
from embconvert.models.source_records import FileRecord
from embconvert.models.values import ExportedModel, OnnxArtifact
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.results import Results
from embconvert.pipeline.reuse import Reuse
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.verifier import verification_record
from embconvert.processes.metering import Meter
from embconvert.processes.worker import Work
from support.graphs import embedding_model, weights
from support.plans import RESOLVED, parse_request, plan
from support.small_tokenizers import write_bytes

CONSOLE = Console(quiet=False, debug=False)
#: The source; its graph has as many positions.
LOADED = LoadedSource(model=NOT_LOADED[Kind.EMBEDDING], modules=("Pooling",), max_seq_length=32)
_TOKENS = 256
_RESOLVED = replace(
    RESOLVED, files=(FileRecord(path="config.json", sha256="0" * 64, size_bytes=1),)
)


@dataclass(frozen=True)
class FinishedTask:
    """A task that has run; see worker.RunningTask."""

    value: Any = None
    error: Exception | None = None
    is_finished: bool = True

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class InstantWorkers:
    """Runs each task when it begins.

    Attributes:
        errors: What tasks raise instead of running, by function; each once, in this order.
    """

    errors: dict[Callable[..., Any], list[Exception]] = field(default_factory=dict)

    @contextmanager
    def take(self, _size_bytes: int = 0) -> Iterator["InstantWorkers"]:
        yield self

    def begin(
        self,
        task: Callable[..., Any],
        *arguments: Any,
        advance: Callable[[int], None] = lambda _: None,
        within: object = None,  # noqa: ARG002 - time passes in processes only
        **named: Any,
    ) -> FinishedTask:
        planned = self.errors.get(task)
        if planned:
            return FinishedTask(error=planned.pop(0))
        reporter = SimpleNamespace(advance=advance, warn=CONSOLE.warn)
        try:
            return FinishedTask(task(reporter, *arguments, **named))
        except (EmbconvertError, OSError) as error:
            return FinishedTask(error=error)


@dataclass
class GraphAsSource:
    """A source that computes what a graph does; see source_process.SourceProcess.

    Attributes:
        folder: The staging folder, with tokenizer.json.
        errors: Of exporters that cannot trace it.
    """

    folder: Path
    graph: OnnxArtifact
    errors: Mapping[Exporter, Exception] = field(default_factory=dict)
    loaded: LoadedSource = LOADED
    kind: Kind = Kind.EMBEDDING
    output_rules: None = None

    def trace(self, path: Path, exporter: Exporter) -> Work[tuple[OnnxArtifact, Meter]]:
        yield from ()
        if exporter in self.errors:
            raise self.errors[exporter]
        return _graph(path), Meter(1.0, 100)

    def write(self, path: Path, *, keep_weights_apart: bool) -> Work[tuple[ExportedModel, Meter]]:
        yield from ()
        return ExportedModel(artifact=_graph(path, weights_apart=keep_weights_apart)), Meter(
            2.0, 70
        )

    def tokenize(self, texts: Sequence[Item]) -> Work[TokenizedTexts]:
        yield from ()
        return tokenize(self.folder, texts)

    def rows(self, tokens: Sequence[int]) -> Work[FloatArray | None]:
        yield from ()
        return weights(_TOKENS, 8)[list(tokens)]

    def embed(
        self, texts: Sequence[Item], workload: Workload, *, layer_by_layer: bool
    ) -> Work[list[Embeddings]]:
        yield from ()
        tokens = tokenize(self.folder, texts)
        run = run_graph(self.graph, tokens, workload, lambda _: None, layer_by_layer=layer_by_layer)
        return [run.embeddings]


def _graph(path: Path, *, weights_apart: bool = False) -> OnnxArtifact:
    return embedding_model(path, tokens=_TOKENS, weights_apart=weights_apart)


def run_context(staging: Staging, line: str) -> RunContext:
    """The run of a command line in an open staging folder, next to no published one."""
    prepared = Prepared(request=parse_request(line), resolved=_RESOLVED, plan=plan(line), old=None)
    write_bytes(staging.folder, truncation={"max_length": LOADED.max_seq_length})
    reuse = Reuse(prepared, staging, CONSOLE)
    verification = verification_record(Kind.EMBEDDING, None, skipped=False, layer_by_layer=False)
    workers: Any = InstantWorkers()
    source: Any = GraphAsSource(staging.folder, _graph(staging.work / "source.onnx"))
    reuse.loaded = source.loaded
    return RunContext(
        prepared=prepared,
        staging=staging,
        reuse=reuse,
        results=Results(prepared, staging, reuse, verification),
        workers=workers,
        console=CONSOLE,
        source=source,
        in_pieces=False,
    )
