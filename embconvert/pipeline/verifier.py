"""Compares graphs with the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from embconvert.console import Console
from embconvert.errors import FidelityError
from embconvert.fidelity.comparison import comparison_for
from embconvert.fidelity.embedding import WorkloadRun
from embconvert.fidelity.figures import Fidelity, LayerCosine
from embconvert.fidelity.floors import Floor
from embconvert.fidelity.layers import LAYER_TEXTS, HiddenStates, batch_for_layers, compare_layers
from embconvert.fidelity.lookups import distinct_tokens
from embconvert.fidelity.settling import unsettled
from embconvert.fidelity.texts import verification_items
from embconvert.manifest import VerificationRecord
from embconvert.models.choices import HALF_PRECISIONS, Precision
from embconvert.models.forms import most_tokens
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.routes import Route
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.reference import Reference, Unsettled
from embconvert.pipeline.tasks import compare_rows, embed_with_graph, hidden_states_of, load_graph
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import Work, Worker
from embconvert.processes.workers import Workers


def verification_record(
    kind: Kind, route: Route | None, *, skipped: bool, layer_by_layer: bool
) -> VerificationRecord:
    """Returns the manifest's record of the verification."""
    rules = KINDS[kind]
    routed = f", route {route.name} by {route.calls[0]}" if route is not None else ""
    texts = verification_items(rules.reading)
    return VerificationRecord(
        texts_digest=texts.digest,
        texts=len(texts.items),
        skipped=skipped,
        execution="layer by layer" if layer_by_layer else "whole graph",
        reference=rules.reference + routed,
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a comparison has to settle: whether a graph of this precision meets the floors."""

    precision: Precision
    floors: tuple[Floor, ...]


class Verifier:
    """Compares graphs with a reference; each runs in a fresh process without torch."""

    def __init__(
        self, kind: Kind, workers: Workers, console: Console, *, layer_by_layer: bool
    ) -> None:
        self._kind = kind
        self._workers = workers
        self._console = console
        self._layer_by_layer = layer_by_layer
        #: Hidden states of exported graphs, by sha256.
        self._hidden: dict[str, HiddenStates] = {}

    def verify(
        self,
        artifact: OnnxArtifact,
        name: str,
        reference: Reference,
        baseline: OnnxArtifact | None = None,
        question: Question | None = None,
    ) -> Work[Fidelity]:
        """Compares a graph with the reference.

        Texts with more tokens than a fixed shape are left out, which is said and recorded.

        Args:
            baseline: The exported graph, to compare the layers with; None for a file of another
                form.
            question: What texts of a sample have to settle; None accepts their figures.

        Raises:
            Unsettled: In the work: they do not settle it, and all texts can be compared.
            FidelityError: In the work: it does not load or run, or computes values that are not
                numbers.
        """
        try:
            reference, left_out = reference.within(most_tokens(artifact.forms), name)
            workload = reference.workload
            asked = question if workload.rest else None
            # Only its activations can overflow, in any text. A file of another form has the rows of
            # the graph that it is made of, but what made it may lose texts in other ways.
            runs_rest = asked is not None and (
                asked.precision in HALF_PRECISIONS or bool(artifact.forms)
            )
            self._tell(artifact, name, workload.texts, left_out)
            with (
                self._console.progress(f"verifying {name}", workload.size) as advance,
                self._workers.take(artifact.total_size_bytes) as worker,
            ):
                run: WorkloadRun | str = yield worker.begin(
                    embed_with_graph,
                    artifact,
                    reference.tokens,
                    workload,
                    layer_by_layer=self._layer_by_layer,
                    kind=self._kind,
                    rules=reference.rules,
                    hidden=list(self._hidden.get(baseline.sha256, ())) if baseline else None,
                    runs_rest=runs_rest,
                    advance=advance,
                )
                if isinstance(run, str):
                    raise ValueError(run)
                if baseline is None and run.hidden:
                    self._hidden[artifact.sha256] = run.hidden
                fidelity = comparison_for(self._kind, reference.rules).compare(
                    reference.embeddings, run.embeddings, text_ids=reference.ids, batch=run.batch
                )
                fidelity = replace(fidelity, left_out=left_out, rest=sum(map(len, workload.rest)))
                if asked is not None:
                    yield from self._settle(asked, worker, artifact, reference, fidelity, run)
                if baseline is None or fidelity.is_same:
                    return fidelity
                layers = yield from self._layers(worker, baseline, artifact, reference, run.hidden)
                return replace(fidelity, layers=layers)
        except (ValueError, WorkerCrashed) as error:
            raise FidelityError(
                f"{name} is not published: {error}",
                "the conversion went wrong; --debug shows more, and please report the model",
            ) from error

    def _tell(self, artifact: OnnxArtifact, name: str, texts: int, left_out: int) -> None:
        if self._layer_by_layer and artifact.forms:
            self._console.say(f"{name} runs whole: only other graphs run layer by layer")
        if left_out:
            self._console.say(
                f"{name} is compared on {texts} texts; {left_out} are longer than its shape"
            )

    def _settle(
        self,
        question: Question,
        worker: Worker,
        artifact: OnnxArtifact,
        reference: Reference,
        fidelity: Fidelity,
        run: WorkloadRun,
    ) -> Work[None]:
        """Raises Unsettled if other texts could change the verdict."""
        if not run.is_rest_finite:
            raise Unsettled("it has values that are not finite for another text")
        for floor in question.floors:
            close = unsettled(fidelity, floor)
            if close is not None:
                raise Unsettled(f"{close} is close to its floor")
        if artifact.forms:
            return
        kept = reference.rows is not None and (
            yield worker.begin(
                compare_rows,
                artifact,
                distinct_tokens(reference.tokens),
                reference.rows,
                question.precision,
            )
        )
        if not kept:
            raise Unsettled("its token table could not be compared by itself")

    def load(self, artifact: OnnxArtifact, name: str) -> Work[None]:
        """Raises FidelityError, in the work, if a graph that is not verified does not load."""
        try:
            with self._workers.take(artifact.total_size_bytes) as worker:
                problem: str | None = yield worker.begin(load_graph, artifact)
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
        reference: Reference,
        ours: HiddenStates,
    ) -> Work[tuple[LayerCosine, ...]]:
        """Compares each layer with the exported graph's; a failure is only a warning."""
        workload, tokens = reference.workload, reference.tokens
        batch = workload.groups[batch_for_layers(workload, tokens.lengths)]
        texts = tokens.subset(batch[:LAYER_TEXTS])

        def states_of(graph: OnnxArtifact, names: Sequence[str] | None) -> Work[HiddenStates]:
            states: HiddenStates | str = yield worker.begin(hidden_states_of, graph, texts, names)
            if isinstance(states, str):
                raise ValueError(states)
            return states

        try:
            if baseline.sha256 not in self._hidden:
                self._hidden[baseline.sha256] = yield from states_of(baseline, None)
            theirs = self._hidden[baseline.sha256]
            return compare_layers(theirs, ours or (yield from states_of(artifact, list(theirs))))
        except (ValueError, WorkerCrashed) as error:
            self._console.warn(f"the layers of {artifact.path.name} were not compared: {error}")
            return ()
