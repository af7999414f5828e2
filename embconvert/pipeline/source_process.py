"""Runs the source model in a child process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import ExportError, FidelityError, SourceError
from embconvert.export.exporter import Exporter
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.manifest.building import LoadedSource
from embconvert.models.kinds import Kind
from embconvert.models.output_rules import OutputRules
from embconvert.models.pair_template import InputRules
from embconvert.models.values import ExportedModel, OnnxArtifact, ResolvedModel
from embconvert.pipeline.tasks import (
    calibrate_source,
    embed_with_source,
    load_source,
    source_rows,
    source_tokens,
    tokenize_texts,
    trace_source,
    write_traced,
)
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.metering import Meter
from embconvert.processes.time_limits import TimeLimit, tokenizing_limit
from embconvert.processes.worker import Work, Worker
from embconvert.processes.workers import Workers
from embconvert.request.records import Request

# Loading some models reads all weights; a slow disk takes a minute per gigabyte.
_LOADING_SECONDS, _SECONDS_PER_GB = 600, 300


def tokenize_apart(
    workers: Workers,
    folder: Path,
    texts: Sequence[Item],
    *,
    rules: InputRules | None,
    rows: int | None = None,
) -> Work[TokenizedTexts]:
    """Tokenizes texts with the tokenizer.json of a folder, in a separate process.

    An untrusted tokenizer.json can abort its process, or use up its memory or time.

    Args:
        rules: How inputs are read, if not as tokenizer.json alone says.
        rows: Number of the model's token embeddings; None if unknown.

    Raises:
        SourceError: In the work: tokenizer.json is missing, or fails on the texts.
        ExportError: In the work: the user's limit of CPU time ended the process.
    """
    with workers.take() as worker, _tokenizing():
        tokens: TokenizedTexts = yield worker.begin(
            tokenize_texts, folder, texts, rules=rules, rows=rows, within=tokenizing_limit()
        )
    return tokens


@contextmanager
def _tokenizing() -> Iterator[None]:
    """Turns the end of a tokenizing process into a SourceError, or one about the user's limit."""
    try:
        yield
    except WorkerCrashed as crash:
        if crash.out_of_cpu_time:
            raise ExportError(f"the texts could not be tokenized: {crash}", crash.hint) from crash
        raise SourceError(
            f"tokenizer.json cannot read embconvert's texts: {crash}",
            "download the model again; if that does not help, do not use this model",
        ) from crash


class SourceProcess:
    """The source model in a child process, from load(), which sets `loaded`, until end()."""

    def __init__(
        self,
        request: Request,
        resolved: ResolvedModel,
        folder: Path,
        workers: Workers,
        console: Console,
    ) -> None:
        self._request = request
        self._resolved = resolved
        self._folder = folder
        self._workers = workers
        self._console = console
        self._worker: Worker | None = None
        self.loaded: LoadedSource | None = None

    def load(self, *, layer_by_layer: bool = False) -> Work[None]:
        """Loads the model, and determines the ranges of its embeddings if they become integers."""
        self._worker = self._workers.take_for_source()
        self._workers.prepare()
        with self._until_it_ends() as worker:
            self.loaded = yield worker.begin(
                load_source,
                self._resolved,
                self._folder,
                device=self._request.device,
                overrides=self._request.overrides,
                trust_remote_code=self._request.trust_remote_code,
                may_connect=self._may_connect,
                within=self._loading_limit,
            )
            assert self.loaded is not None
            if self._request.output_precision.is_calibrated:
                model = yield worker.begin(
                    calibrate_source,
                    self._request.calibration_dataset,
                    self.loaded.prompts.distinct,
                    layer_by_layer=layer_by_layer,
                )
                self.loaded = replace(self.loaded, model=model)
        for correction in self.loaded.corrections:
            self._console.say(correction.words)

    @property
    def _loading_limit(self) -> TimeLimit | None:
        if self._may_connect:
            return None
        size_gb = sum(file.size_bytes for file in self._resolved.files) / 1e9
        seconds = _LOADING_SECONDS + round(_SECONDS_PER_GB * size_gb)
        return TimeLimit(
            seconds=seconds,
            error=SourceError(
                f"loading the model took longer than {seconds} seconds",
                "copy it to a faster disk; if that does not help, its tokenizer or chat template "
                "may never finish",
            ),
        )

    @property
    def _may_connect(self) -> bool:
        """Whether the model's code may use the network: if trusted, and on the hub."""
        is_local = self._resolved.revision is None
        return self._request.trust_remote_code and not (is_local or self._request.offline)

    @property
    def kind(self) -> Kind:
        return self._resolved.kind

    @property
    def output_rules(self) -> OutputRules | None:
        """How the graphs' outputs are read; None if they are float vectors or scores."""
        return None if self.loaded is None else self.loaded.model.output_rules(self._request.output)

    def trace(self, path: Path, exporter: Exporter) -> Work[tuple[OnnxArtifact, Meter]]:
        """Writes the model's graph without its weights, which stay in the source's files."""
        with self._until_it_ends() as worker:
            traced: tuple[OnnxArtifact, Meter] = yield worker.begin(
                trace_source,
                path,
                opset=self._request.opset,
                exporter=exporter,
                output=self._request.output,
                inputs=self._request.inputs,
            )
        return traced

    def write(self, path: Path, *, keep_weights_apart: bool) -> Work[tuple[ExportedModel, Meter]]:
        """Writes the traced graph with its weights, or with references to the source's files."""
        with self._until_it_ends() as worker:
            written: tuple[ExportedModel, Meter] = yield worker.begin(
                write_traced, path, keep_weights_apart=keep_weights_apart
            )
        return written

    def embed(
        self, texts: Sequence[Item], workload: Workload, *, layer_by_layer: bool
    ) -> Work[list[Embeddings]]:
        """Embeds a workload, batch by batch."""
        with (
            self._console.progress("embedding with the source", workload.size) as advance,
            self._until_it_ends() as worker,
        ):
            parts: list[Embeddings] = yield worker.begin(
                embed_with_source,
                texts,
                workload.groups,
                layer_by_layer=layer_by_layer,
                advance=advance,
            )
        return parts

    def embed_batches(
        self, texts: Sequence[Item], groups: Sequence[Sequence[int]]
    ) -> Work[list[Embeddings]]:
        """Embeds batches of texts, given by their numbers; raises as embed()."""
        with self._until_it_ends() as worker:
            parts: list[Embeddings] = yield worker.begin(
                embed_with_source, texts, groups, layer_by_layer=False
            )
        return parts

    def rows(self, tokens: Sequence[int]) -> Work[FloatArray | None]:
        """Returns rows of the token table, (tokens, width) float32, None without; as embed()."""
        with self._until_it_ends() as worker:
            found: FloatArray | None = yield worker.begin(source_rows, tokens)
        return found

    def tokenize(self, texts: Sequence[Item]) -> Work[TokenizedTexts]:
        """Tokenizes with the folder's tokenizer.json; raises FidelityError for other tokens."""
        assert self.loaded is not None
        with self._until_it_ends() as worker, _tokenizing():
            theirs: list[dict[str, list[int]]] = yield worker.begin(
                source_tokens, texts, within=tokenizing_limit()
            )
        tokens = yield from tokenize_apart(
            self._workers, self._folder, texts, rules=self.loaded.input_rules, rows=self.loaded.rows
        )
        if not tokens.are(theirs):
            raise FidelityError(
                "the published tokenizer.json would give other tokens than the source",
                "please report the model",
            )
        return tokens

    @contextmanager
    def _until_it_ends(self) -> Iterator[Worker]:
        """Yields the process; turns its end into an ExportError."""
        assert self._worker is not None
        try:
            yield self._worker
        except WorkerCrashed as crash:
            raise ExportError(
                f"the process with the source model ended: {crash}", crash.hint
            ) from crash

    def end(self) -> None:
        """Ends the process; the properties of the model stay known."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
