"""Comparing graphs with the source."""

from collections.abc import Sequence
from dataclasses import replace

from embconvert.console import Console
from embconvert.errors import FidelityError
from embconvert.fidelity.by_kind import COMPARISONS
from embconvert.fidelity.embedding import WorkloadRun
from embconvert.fidelity.figures import Embeddings, Fidelity, LayerCosine
from embconvert.fidelity.layers import (
    LAYER_TEXTS,
    HiddenStates,
    batch_for_layers,
    compare_layers,
)
from embconvert.fidelity.texts import verification_items
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload, workload_for
from embconvert.manifest import VerificationRecord
from embconvert.models.kinds import KINDS, KindRules
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.source_process import Source
from embconvert.pipeline.tasks import embed_with_graph, hidden_states_of, load_graph
from embconvert.processes.workers import Worker, WorkerCrashed, Workers


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
        #: Of exported graphs, by their digests.
        self._hidden: dict[str, HiddenStates] = {}
        self._begun: tuple[list[str], TokenizedTexts, Workload] | None = None
        self._reference: Embeddings | None = None

    @property
    def _rules(self) -> KindRules:
        return KINDS[self._source.kind]

    def record(self) -> VerificationRecord:
        """Returns what the manifest says of the comparison."""
        texts = verification_items(self._rules.reading)
        return VerificationRecord(
            texts_digest=texts.digest,
            texts=len(texts.items),
            skipped=self._skipped,
            execution="layer by layer" if self._layer_by_layer else "whole graph",
            reference=self._rules.reference,
        )

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
                self._workers.take(artifact.total_size_bytes) as worker,
            ):
                run: WorkloadRun | str = worker.call(
                    embed_with_graph,
                    artifact,
                    tokens,
                    workload,
                    layer_by_layer=self._layer_by_layer,
                    kind=self._source.kind,
                    hidden=list(self._hidden.get(baseline.sha256, ())) if baseline else None,
                    advance=advance,
                )
                if isinstance(run, str):
                    raise ValueError(run)
                if baseline is None and run.hidden:
                    self._hidden[artifact.sha256] = run.hidden
                fidelity = COMPARISONS[self._source.kind].compare(
                    reference,
                    run.embeddings,
                    text_ids=ids,
                    batch=run.batch,
                    texts_per_second=run.texts_per_second,
                )
                if baseline is None or fidelity.is_same:
                    return fidelity
                layers = self._layers(worker, baseline, artifact, run.hidden)
                return replace(fidelity, layers=layers)
        except (ValueError, WorkerCrashed) as error:
            raise FidelityError(
                f"{name} is not published: {error}",
                "the conversion went wrong; --debug shows more, and please report the model",
            ) from error

    def load(self, artifact: OnnxArtifact, name: str) -> None:
        """Loads a graph that is not compared with anything, so that no broken one is published.

        Raises:
            FidelityError: It doesn't load.
        """
        try:
            with self._workers.take(artifact.total_size_bytes) as worker:
                problem = worker.call(load_graph, artifact)
        except WorkerCrashed as crash:
            problem = str(crash)
        if problem is not None:
            raise FidelityError(
                f"{name} is not published: {problem}",
                "try --optimize 0 or another precision, and please report the model",
            )

    def _layers(
        self,
        worker: Worker,
        baseline: OnnxArtifact,
        artifact: OnnxArtifact,
        ours: HiddenStates,
    ) -> tuple[LayerCosine, ...]:
        """Returns how far each layer is from the exported graph's; a failure is told, no more.

        Args:
            worker: Runs the graphs.
            baseline: The exported graph.
            artifact: The other.
            ours: Its hidden states, as far as they are known.
        """
        _, tokens, workload, _ = self._prepare()
        batch = workload.groups[batch_for_layers(workload, tokens.lengths)]
        texts = tokens.subset(batch[:LAYER_TEXTS])

        def states_of(graph: OnnxArtifact, names: Sequence[str] | None) -> HiddenStates:
            states: HiddenStates | str = worker.call(hidden_states_of, graph, texts, names)
            if isinstance(states, str):
                raise ValueError(states)
            return states

        try:
            if baseline.sha256 not in self._hidden:
                self._hidden[baseline.sha256] = states_of(baseline, None)
            theirs = self._hidden[baseline.sha256]
            return compare_layers(theirs, ours or states_of(artifact, list(theirs)))
        except (ValueError, WorkerCrashed) as error:
            self._console.warn(f"the layers of {artifact.path.name} were not compared: {error}")
            return ()

    def begin(self) -> None:
        """Begins to embed the texts with the source, which it can do beside something else."""
        if self._begun is not None:
            return
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
        self._source.begin_embedding(items, workload, layer_by_layer=self._layer_by_layer)
        ids = [texts.ids[present[i]] for group in workload.groups for i in group]
        self._begun = (ids, tokens, workload)

    def prepare(self) -> None:
        """Embeds the texts with the source now, while it is loaded."""
        self._prepare()

    def _prepare(self) -> tuple[list[str], TokenizedTexts, Workload, Embeddings]:
        """Returns ids, tokens, batches and the reference; made at the first call."""
        self.begin()
        assert self._begun is not None
        if self._reference is None:
            self._reference = self._source.embeddings()
            self._source.close()  # should its export be tried again, it is loaded again
        return (*self._begun, self._reference)
