"""Does the jobs of a run; `pipeline.scheduler` decides when."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from embconvert.errors import (
    DeriveError,
    FidelityError,
    OptimizeError,
    QuantizeError,
)
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.manifest import ArtifactRecord
from embconvert.pipeline.checks import (
    refuse_misfit,
    refuse_not_standard,
    refuse_shortfall,
    refuse_too_new,
)
from embconvert.pipeline.comparisons import Comparisons
from embconvert.pipeline.data_loss import LossOnData
from embconvert.pipeline.given import blame_given
from embconvert.pipeline.kept_reference import KeptReference
from embconvert.pipeline.producer import Producer
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.short_shapes import refuse_short_shapes
from embconvert.pipeline.speeds import limit_of, measure_speeds
from embconvert.pipeline.trials import Trials
from embconvert.plan.budget import DataLoss
from embconvert.plan.jobs import SOURCE_PROCESS, Action, Job
from embconvert.plan.reuse import is_to_compare
from embconvert.plan.steps import EXPORTED_FILE, Stage, Step
from embconvert.processes.worker import Work
from embconvert.reporting.table import fused_words
from embconvert.speed.records import Speedup

#: Errors of one file, after which files that do not depend on it are still made.
ERRORS_OF_ONE_FILE = (OptimizeError, QuantizeError, DeriveError, FidelityError)

_WITH_BARS = (Action.REFERENCE, Action.COMPLETE_REFERENCE, Action.VERIFY)


class Performer:
    """Does the jobs of a run in a staging folder.

    Args:
        kept: The reference of an earlier run; None if this run keeps none.
    """

    def __init__(self, run: RunContext, kept: KeptReference | None) -> None:
        self._run = run
        self._request, self._resolved = run.prepared.request, run.prepared.resolved
        self._results = run.results
        self._producer = Producer(run)
        self._comparisons = Comparisons(run, kept)
        self._trials = Trials(run, self)
        self._losses: LossOnData | None = None
        if self._request.evaluate is not None:
            self._losses = LossOnData(
                self._request.evaluate, run.staging.work / "data", run.staging.folder,
                self._resolved.kind, self._request.output, run.workers, run.console,
            )  # fmt: skip
        #: Of files that are judged later: their figures, or why they could not be compared.
        self._outcomes: dict[str, Fidelity | FidelityError | None] = {}
        #: Whether the shapes are not known to be long enough.
        self._unchecked = True

    def perform(self, job: Job) -> Work[None]:
        """Returns the work of a job; see scheduler.DoesJobs."""
        has_own_bar = job.action in _WITH_BARS
        bar = nullcontext() if has_own_bar else self._run.console.progress(job.words)
        try:
            with bar:
                yield from self._do(job)
        except ERRORS_OF_ONE_FILE as failure:
            if self._results.given is not None:
                yield from blame_given(self._results.given, failure, self._run.workers)
            raise

    def _do(self, job: Job) -> Work[None]:
        actions: dict[Action, Callable[[Step], Work[None]]] = {
            Action.TRACE: self._producer.trace,
            Action.WRITE: self._producer.write,
            Action.OPTIMIZE: self._producer.make_or_take,
            Action.QUANTIZE: self._producer.make_or_take,
            Action.DERIVE: self._producer.make_or_take,
            Action.VERIFY: self._compare if job.is_judged_later else self._verify,
            Action.JUDGE: self._judge,
        }
        if job.is_trial:
            yield from self._trials.perform(job)
        elif job.action is Action.LOAD:
            yield from self._run.source.load(layer_by_layer=self._run.in_pieces)
            self._run.reuse.loaded = self._run.source.loaded
            yield from self._refuse_short_shapes()
        elif job.action is Action.REFERENCE:
            yield from self._comparisons.embed(job)
        elif job.action is Action.KEPT_REFERENCE:
            yield from self._comparisons.take_kept(job)
        elif job.action is Action.COMPLETE_REFERENCE:
            yield from self._comparisons.embed_all()
        else:
            assert job.step is not None
            if job.action is Action.DERIVE:  # of a run that does not load the source
                yield from self._refuse_short_shapes()
            yield from actions[job.action](job.step)

    def _refuse_short_shapes(self) -> Work[None]:
        """Raises UsageError, in the work, for a shape that is too short; once in a run."""
        loaded = self._run.reuse.loaded
        if loaded is not None and self._unchecked:
            self._unchecked = False
            yield from refuse_short_shapes(
                self._run.prepared.plan.steps,
                self._resolved.kind,
                loaded,
                self._run.staging.folder,
                self._run.workers,
            )

    def end_process(self, name: str) -> None:
        """Ends the shared process of a name; there is only one."""
        assert name == SOURCE_PROCESS
        self._run.source.end()

    def finish(self) -> None:
        """Publishes the result of the search; raises FidelityError if none meets the budget."""
        self._trials.finish()

    def make(self, step: Step) -> Work[None]:
        """Makes an optimized or quantized graph, or a derived file."""
        return self._producer.make(step)

    def _judge(self, step: Step) -> Work[None]:
        """Records a graph that was compared, unless that was done at once."""
        if step.file in self._producer.made:
            yield from self._verify(step)

    def _verify(self, step: Step) -> Work[None]:
        if step.file in self._producer.made:
            with self._producer.next_method_on_failure(step):
                record = yield from self.verified(step)
            self._report(step, record)
        else:
            record = self._results.records[step.file]
            if is_to_compare(step, record, self._request):
                artifact = self._results.artifact(record)
                record = replace(record, fidelity=(yield from self._comparisons.of(step, artifact)))
            refuse_shortfall(step, record.fidelity)
        refuse_too_new(record, self._request)
        self._results.records[step.file] = record
        self._results.note()

    def _compare(self, step: Step) -> Work[None]:
        """Compares a graph that is judged later; one that an earlier run made is judged at once."""
        if step.file not in self._producer.made:
            yield from self._verify(step)
            return
        try:
            self._outcomes[step.file] = yield from self._compared(step)
        except FidelityError as error:
            self._outcomes[step.file] = error

    def verified(self, step: Step) -> Work[ArtifactRecord]:
        """Verifies a graph that was made; raises FidelityError below its floor."""
        if step.file in self._outcomes:
            outcome = self._outcomes.pop(step.file)
            if isinstance(outcome, FidelityError):
                raise outcome
        else:
            outcome = yield from self._compared(step)
        if outcome is not None:
            refuse_shortfall(step, outcome)
        return self._producer.record(step, outcome)

    def _compared(self, step: Step) -> Work[Fidelity | None]:
        """Returns the figures of a graph that was made; None if it is only loaded."""
        artifact = self._producer.made[step.file].artifact
        refuse_misfit(self._request.layout, self._resolved.kind, step, artifact)
        refuse_not_standard(step, artifact, self._request)
        if step.floor is None:
            yield from self._comparisons.load(step, artifact)
            return None
        return (yield from self._comparisons.of(step, artifact))

    def speedup(self, record: ArtifactRecord) -> Work[Speedup | None]:
        """Returns how fast a graph is, in turns with the exported one; None without that."""
        export = self._results.standing(EXPORTED_FILE)
        loaded, tokens = self._run.reuse.loaded, self.tokens
        if export is None or tokens is None or self._run.in_pieces:
            return None
        limit = limit_of(loaded.input_rules, loaded.max_seq_length) if loaded else None
        graphs = {r.path: self._results.artifact(r) for r in (export, record)}
        speeds = yield from measure_speeds(
            graphs, EXPORTED_FILE, tokens, self._run.workers, self._run.console,
            limit=limit,
        )  # fmt: skip
        found = speeds.of(record.path) if speeds else None
        return found.speedup if found else None

    def loss(self, record: ArtifactRecord) -> Work[DataLoss | None]:
        """Returns what a graph loses on the user's data; None without data or exported graph."""
        export = self._results.standing(EXPORTED_FILE)
        loaded = self._run.reuse.loaded
        if self._losses is None or export is None or loaded is None:
            return None
        artifact, baseline = self._results.artifact(record), self._results.artifact(export)
        return (yield from self._losses.of(baseline, artifact, record.path, loaded))

    @property
    def tokens(self) -> TokenizedTexts | None:
        """The tokens of the built-in texts; None if no graph was compared."""
        return self._comparisons.tokens

    def _report(self, step: Step, record: ArtifactRecord) -> None:
        if step.stage is not Stage.OPTIMIZE:
            return
        self._run.console.say(f"fused: {fused_words(record.fusions) or 'nothing'}")
        has_transformer = self._resolved.static is None
        if has_transformer and not any(fusion.fused for fusion in record.fusions):
            self._run.console.warn(f"{step.file}: no rule fits an operator of this graph")
        for fusion in record.fusions:
            for reason, count in fusion.left.items():
                left = f"{count} of {fusion.found} {fusion.kind} not fused"
                self._run.console.warn(f"{step.file}: {left}: {reason}")
