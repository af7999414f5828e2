"""Comparing graphs with the source: loads the source once, and lets it go when it may."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embconvert.console import Console
from embconvert.errors import ExportError, FidelityError
from embconvert.export import Exporter
from embconvert.fidelity.by_kind import COMPARISONS
from embconvert.fidelity.embedding import Workload, WorkloadRun, join, workload_for
from embconvert.fidelity.figures import Embeddings, Fidelity, LayerCosine
from embconvert.fidelity.texts import Item, verification_items
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.kinds import KINDS, Kind, KindRules
from embconvert.late_interaction import LateInteraction
from embconvert.model import OnnxArtifact, ResolvedModel
from embconvert.processes.metering import Meter
from embconvert.processes.workers import Worker, WorkerCrashed, Workers
from embconvert.requests import Request
from embconvert.tasks import (
    SourceFacts,
    compare_layers,
    embed_with_graph,
    embed_with_source,
    export_source,
    load_source,
    save_source_tokenizer,
    source_tokens,
)


class Source:
    """The source model in a process of its own, from its first use until close()."""

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
        self.facts: SourceFacts | None = None

    def load(self) -> SourceFacts:
        """Loads the model, once.

        Raises:
            EmbconvertError: It cannot be loaded.
        """
        if self._worker is None or self.facts is None:
            self._console.say(f"loading {self._resolved.model_id}")
            self._worker = self._workers.take_for_source()
            self._workers.prepare()
            self.facts = self._call(
                load_source,
                self._resolved,
                self._folder,
                device=self._request.device,
                overrides=self._request.overrides,
                trust_remote_code=self._request.trust_remote_code,
            )
        return self.facts

    @property
    def late_interaction(self) -> LateInteraction | None:
        """How queries and documents are read; None for models of other kinds."""
        value = self.load().of_kind.get("late_interaction")
        return LateInteraction.parse(value) if value is not None else None

    @property
    def kind(self) -> Kind:
        """What kind of model it is."""
        return self._resolved.kind

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory now."""
        return self._worker is not None

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which the model truncates."""
        return self.facts.max_seq_length if self.facts else self._resolved.max_seq_length

    def export(
        self, path: Path, *, opset: int, exporter: Exporter, keep_weights_apart: bool
    ) -> tuple[OnnxArtifact, Meter]:
        """Writes the model's graph; see export.export."""
        self.load()
        result: tuple[OnnxArtifact, Meter] = self._call(
            export_source,
            path,
            opset=opset,
            exporter=exporter,
            output=self._request.output,
            keep_weights_apart=keep_weights_apart,
        )
        return result

    def embed(
        self, texts: Sequence[Item], workload: Workload, *, layer_by_layer: bool
    ) -> Embeddings:
        """Embeds a workload: the reference, a row for each text of each group."""
        self.load()
        with self._console.progress("embedding with the source", workload.size) as advance:
            parts: list[Embeddings] = self._call(
                embed_with_source,
                texts,
                workload.groups,
                layer_by_layer=layer_by_layer,
                advance=advance,
            )
        return join(parts)

    def tokenize(self, texts: Sequence[Item]) -> TokenizedTexts:
        """Tokenizes by the folder's files, which must give what transformers gives.

        transformers 5 replaces the tokenizer.json of some architectures by a pipeline of its own
        (MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS); then that one is published.

        Raises:
            FidelityError: No tokenizer.json gives the source's tokens.
        """
        self.load()
        theirs: list[dict[str, list[int]]] = self._call(source_tokens, texts)
        for attempt in range(2):
            tokens = tokenize(
                self._folder, texts, max_length=self.max_seq_length, late=self.late_interaction
            )
            if tokens.are(theirs):
                return tokens
            if attempt == 0:
                self._console.warn(
                    "the source's tokenizer.json gives other tokens than transformers does; "
                    "publishing the one that transformers uses"
                )
                self._call(save_source_tokenizer, self._folder)
        raise FidelityError(
            "the published tokenizer.json would give other tokens than the source",
            "please report the model",
        )

    def _call(self, task: Any, *arguments: Any, **named: Any) -> Any:
        assert self._worker is not None
        try:
            return self._worker.call(task, *arguments, **named)
        except WorkerCrashed as crash:
            self._worker = None
            raise ExportError(
                f"the process with the source model ended: {crash}",
                "convert it on a machine with more memory, or raise the container's limit"
                if crash.out_of_memory
                else "please report the model",
            ) from crash

    def close(self) -> None:
        """Gives the model's memory back; what facts tells stays known."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class Verifier:
    """Compares graphs with a source on the built-in texts.

    Args:
        source: The source.
        workers: Where graphs run.
        console: For messages.
        skipped: Whether nothing is to be compared.
        layer_by_layer: Run the source and the graphs in pieces, which takes little memory.
        flop_per_token: That one token costs; a model that costs much is compared on a sample.
        wide_values: See ResolvedModel.
    """

    def __init__(
        self,
        source: Source,
        workers: Workers,
        console: Console,
        *,
        skipped: bool,
        layer_by_layer: bool,
        flop_per_token: float,
        wide_values: int = 0,
    ) -> None:
        self._source = source
        self._workers = workers
        self._console = console
        self._skipped = skipped
        self._layer_by_layer = layer_by_layer
        self._flop_per_token = flop_per_token
        self._wide_values = wide_values
        self._prepared: tuple[list[str], TokenizedTexts, Workload, Embeddings] | None = None

    @property
    def _rules(self) -> KindRules:
        return KINDS[self._source.kind]

    def facts(self) -> dict[str, Any]:
        """Returns what the manifest says of the comparison."""
        texts = verification_items(self._rules.reading)
        return {
            "texts_digest": texts.digest,
            "texts": len(texts.items),
            "skipped": self._skipped,
            "execution": "layer by layer" if self._layer_by_layer else "whole graph",
            "reference": self._rules.reference,
        }

    def verify(
        self, artifact: OnnxArtifact, name: str, baseline: OnnxArtifact | None = None
    ) -> Fidelity:
        """Compares a graph with the source.

        The graph runs in a fresh process without torch, as at a consumer's.

        Args:
            artifact: The graph.
            name: For messages.
            baseline: The exported graph that it was made of, to compare the layers with.

        Raises:
            FidelityError: It doesn't load, doesn't run, or gives values that are not numbers.
        """
        ids, tokens, workload, reference = self._prepare()
        try:
            with (
                self._console.progress(f"verifying {name}", workload.size) as advance,
                self._workers.take() as worker,
            ):
                run: WorkloadRun | str = worker.call(
                    embed_with_graph,
                    artifact,
                    tokens,
                    workload,
                    layer_by_layer=self._layer_by_layer,
                    kind=self._source.kind,
                    advance=advance,
                )
                if isinstance(run, str):
                    raise ValueError(run)
                fidelity = COMPARISONS[self._source.kind].compare(
                    reference,
                    run.embeddings,
                    text_ids=ids,
                    batch_cosine=run.batch_cosine,
                    texts_per_second=run.texts_per_second,
                )
                if baseline is None or fidelity.is_same:
                    return fidelity
                layers = self._layers(worker, baseline, artifact, tokens)
                return replace(fidelity, layers=layers)
        except (ValueError, WorkerCrashed) as error:
            raise FidelityError(
                f"{name} is not published: {error}",
                "the conversion went wrong; --debug shows more, and please report the model",
            ) from error

    def _layers(
        self,
        worker: Worker,
        baseline: OnnxArtifact,
        artifact: OnnxArtifact,
        tokens: TokenizedTexts,
    ) -> tuple[LayerCosine, ...]:
        """Returns how far each layer is from the exported graph's; a failure is told, no more."""
        try:
            layers: tuple[LayerCosine, ...] | str = worker.call(
                compare_layers, baseline, artifact, tokens
            )
        except WorkerCrashed as crash:
            layers = str(crash)
        if isinstance(layers, str):
            self._console.warn(f"the layers of {artifact.path.name} were not compared: {layers}")
            return ()
        return layers

    def prepare(self) -> None:
        """Embeds the texts with the source now, while it is loaded."""
        self._prepare()

    def _prepare(self) -> tuple[list[str], TokenizedTexts, Workload, Embeddings]:
        """Returns ids, tokens, batches and the reference; made at the first call."""
        if self._prepared is None:
            lone = not self._source.is_loaded
            texts = verification_items(self._rules.reading)
            tokens = self._source.tokenize(texts.items)
            present = [i for i, length in enumerate(tokens.lengths) if length]
            if len(present) < len(texts.ids):
                self._console.say(
                    f"{len(texts.ids) - len(present)} texts have no token and are left out"
                )
            tokens = tokens.subset(present)
            items = [texts.items[i] for i in present]
            workload = workload_for(items, tokens.lengths, self._flop_per_token, self._wide_values)
            if workload.texts < len(present):
                self._console.say(
                    f"a large model: compared on a sample of {workload.texts} of "
                    f"{len(present)} texts (--full_validation compares all)"
                )
            reference = self._source.embed(items, workload, layer_by_layer=self._layer_by_layer)
            ids = [texts.ids[present[i]] for group in workload.groups for i in group]
            self._prepared = (ids, tokens, workload, reference)
            if lone or self._layer_by_layer:  # what is short of memory loads it again at need
                self._source.close()
        return self._prepared
