"""The reference of a run, and comparisons of its graphs with it."""

from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import ALL_TEXTS
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.kept_reference import KeptReference
from embconvert.pipeline.reference import Reference, Unsettled, flop_per_token, make_reference
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.scheduler import NeedsFirst
from embconvert.pipeline.verifier import Question, Verifier
from embconvert.plan.jobs import Job
from embconvert.plan.steps import EXPORTED_FILE, Step
from embconvert.processes.worker import Work


class Comparisons:
    """Compares the graphs of a run; on a sample of the texts, and on all if that is unsettled.

    Args:
        kept: The reference of an earlier run; None if this run keeps none.
    """

    def __init__(self, run: RunContext, kept: KeptReference | None) -> None:
        self._run = run
        self._kept = kept
        self._verifier = Verifier(
            run.prepared.resolved.kind, run.workers, run.console, layer_by_layer=run.in_pieces
        )
        self._reference: Reference | None = None
        #: Of all texts, and the graphs (file and digest) that a sample of them does not settle.
        self._complete: Reference | None = None
        self._unsettled: set[tuple[str, str]] = set()
        #: The jobs that compute the reference, the last one of them itself.
        self._from_source: tuple[Job, ...] = ()

    @property
    def tokens(self) -> TokenizedTexts | None:
        """The tokens of the built-in texts; None if no graph was compared."""
        return self._reference.tokens if self._reference else None

    def embed(self, job: Job) -> Work[None]:
        """Embeds the texts with the source; a sample if tokens cost much."""
        self._from_source = self._from_source or (job,)
        cost = flop_per_token(self._run.prepared.request, self._run.prepared.resolved)
        reference = self._reference = yield from self._embedded(cost)
        self._run.results.shares = reference.shares
        if self._kept is not None and self._run.source.loaded is not None:
            self._kept.write(reference, self._run.source.loaded, self._run.console)

    def embed_all(self) -> Work[None]:
        """Embeds all texts with the source."""
        self._complete = yield from self._embedded(ALL_TEXTS)

    def _embedded(self, cost: float) -> Work[Reference]:
        return make_reference(
            self._run.source,
            self._run.console,
            layer_by_layer=self._run.in_pieces,
            flop_per_token=cost,
            wide_values=self._run.prepared.resolved.wide_values,
        )

    def take_kept(self, job: Job) -> Work[None]:
        """Takes the reference that an earlier run computed.

        Raises:
            NeedsFirst: In the work: it is not that of this run, so it must be computed.
        """
        self._from_source = job.otherwise
        loaded = self._run.reuse.loaded
        if self._reference is None and self._kept is not None and loaded is not None:
            self._reference = yield from self._kept.read(
                loaded, self._run.staging.folder, self._run.workers, self._run.console
            )
        if self._reference is None:
            raise NeedsFirst(*self._from_source)
        self._run.results.shares = self._reference.shares

    def load(self, step: Step, artifact: OnnxArtifact) -> Work[None]:
        """Loads a graph that is not compared; raises FidelityError, in the work, if that fails."""
        return self._verifier.load(artifact, step.file)

    def of(self, step: Step, artifact: OnnxArtifact) -> Work[Fidelity]:
        """Compares a graph; raises NeedsFirst if all texts must be embedded first."""
        file = step.file
        export = self._run.results.records.get(EXPORTED_FILE)
        is_compared = export is not None and file != EXPORTED_FILE and not artifact.forms
        baseline = self._run.results.artifact(export) if export and is_compared else None
        graph = (file, artifact.digest)
        is_complete = graph in self._unsettled
        # The sample comes first even where all texts are embedded for another file: figures must
        # not depend on what was verified earlier.
        reference = self._complete if is_complete else self._reference
        assert reference is not None and step.floor is not None
        floors = [step.floor]
        plan = self._run.prepared.plan
        if plan.search is not None and step not in plan.steps:
            floors += plan.search.budget.floors(step.precision)
        question = Question(precision=step.precision, floors=tuple(floors))
        try:
            if self._run.results.given is not None and reference.workload.rest:
                raise Unsettled("the graph that it is made of may be wrong in any way")
            return (
                yield from self._verifier.verify(
                    artifact, file, reference, baseline, None if is_complete else question
                )
            )
        except Unsettled as why:
            self._run.console.say(f"{file} is compared on all texts: {why}")
            self._unsettled.add(graph)
            *before, reference_job = self._from_source
            raise NeedsFirst(*before, reference_job.complete) from None
