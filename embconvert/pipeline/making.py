"""Makes the files of a plan one by one, and verifies each."""

from collections.abc import Sequence
from dataclasses import replace

from embconvert.console import Console
from embconvert.errors import (
    ExportError,
    FidelityError,
    OptimizeError,
    QuantizeError,
    UnsupportedModelError,
    UsageError,
)
from embconvert.export.exporter import Exporter
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import shortfall
from embconvert.manifest import ArtifactRecord
from embconvert.manifest.layouts import misfit
from embconvert.models.choices import Layout, Precision
from embconvert.models.values import (
    Fusion,
    KeptNode,
    OnnxArtifact,
    OptimizedModel,
)
from embconvert.pipeline.ahead import Ahead, methods_of
from embconvert.pipeline.exporting import Exports
from embconvert.pipeline.ledger import Ledger
from embconvert.pipeline.record import make_record
from embconvert.pipeline.source_process import Source
from embconvert.pipeline.verifier import Verifier
from embconvert.plan.steps import EXPORTED_FILE, Stage, Step
from embconvert.reporting.table import fused_words
from embconvert.request.records import Request


class Maker:
    """Makes and verifies the files of steps in a staging folder."""

    def __init__(
        self,
        request: Request,
        *,
        ledger: Ledger,
        source: Source,
        verifier: Verifier,
        ahead: Ahead,
        exports: Exports,
        console: Console,
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._source = source
        self._verifier = verifier
        self._ahead = ahead
        self._exports = exports
        self._console = console
        self._verified: set[str] = set()

    def reuse(self, step: Step) -> ArtifactRecord | None:
        """Returns the step's outcome from an earlier run, verified, or None.

        Raises:
            FidelityError: It falls short of this run's floor.
        """
        record = self._ledger.find(step) if step not in self._ahead else None
        if record is None:
            return None
        if step.floor is not None and record.fidelity is None:
            artifact = self._ledger.artifact(record)
            record = replace(record, fidelity=self._verify(artifact, step.file))
        _refuse_shortfall(step, record.fidelity)
        self._console.say(f"{step.stage}: {step.file} is there already")
        return record

    def make(self, step: Step, then: Step | None = None) -> ArtifactRecord:
        """Makes a step's file by the first of its methods whose outcome holds.

        Args:
            step: What to make.
            then: What is to be made after it; it may be begun.

        Raises:
            FidelityError: None holds.
            UnsupportedModelError: No exporter gives a right graph.
            EmbconvertError: A stage fails.
        """
        methods = methods_of(step)
        if step not in self._ahead:
            self._console.say(f"{step.stage}: {step.file}")
        reasons: list[str] = []
        for method, following in zip(methods, [*methods[1:], None], strict=True):
            try:
                record = self.attempt(step, method, then)
            except (FidelityError, UnsupportedModelError) as failure:
                reasons.append(failure.message)
                if following is not None:
                    self._console.warn(f"{failure.message}; trying {following} instead")
                    continue
                if step.stage is Stage.EXPORT:
                    raise UnsupportedModelError(_joined(reasons), failure.hint) from failure
                raise
            self._report(step, record)
            return record
        raise AssertionError("a stage has at least one method")

    def attempt(self, step: Step, method: str, then: Step | None = None) -> ArtifactRecord:
        """Makes a step's file by one method, and verifies it.

        Args:
            step: What to make.
            method: Its stage's: an exporter, an optimizer, a precision.
            then: What is to be made after it; it may be begun.

        Raises:
            FidelityError: It falls short of the step's floor.
            EmbconvertError: The stage fails.
        """
        self._ahead.give_up(step.file)
        fusions: tuple[Fusion, ...] = ()
        kept: tuple[KeptNode, ...] = ()
        source: OnnxArtifact | None = None
        if step.source is None:
            artifact, meter = self._exports.make(step, Exporter(method), then)
        else:
            source = self._ledger.source_of(step)
            self._ahead.start(step, method, source)
            if then is not None and then.source == step.source:
                self._ahead.start_early(then, source)
            made, meter = self._ahead.finish(step)
            artifact = made.artifact
            if isinstance(made, OptimizedModel):
                fusions = made.fusions
            else:
                kept = made.kept
        _refuse_misfit(self._request.layout, step, artifact)
        if not self._request.skip_validation:
            if then is not None and then.stage is Stage.OPTIMIZE and then.source == step.file:
                self._ahead.start_early(then, artifact)
            self._verifier.prepare()
        if self._source.facts is not None:
            self._ledger.source_facts = self._source.facts
        fidelity = self._proven(step, artifact, is_exported=source is None)
        if source is None:
            self._source.close()
        return make_record(
            step,
            artifact,
            method=method,
            key=self._ledger.key(step),
            made_from=source.sha256 if source else None,
            fidelity=fidelity,
            meter=meter,
            fusions=fusions,
            kept=kept,
        )

    def _proven(self, step: Step, artifact: OnnxArtifact, *, is_exported: bool) -> Fidelity | None:
        """Compares a graph with the source; one that is not compared is loaded, if published.

        Raises:
            FidelityError: It falls short of the step's floor, or does not load.
        """
        if step.floor is None:
            if self._request.skip_validation and step.is_published:
                self._verifier.load(artifact, step.file)
            return None
        self._ahead.wait()  # graphs that run are timed
        if not is_exported:
            self._refresh_baseline()
        fidelity = self._verify(artifact, step.file)
        _refuse_shortfall(step, fidelity)
        return fidelity

    def _refresh_baseline(self) -> None:
        """Verifies an export of an earlier run once more, so that speeds of one run compare."""
        if EXPORTED_FILE in self._verified:
            return
        record = self._ledger.published(EXPORTED_FILE)
        if record is not None:
            figures = self._verify(self._ledger.artifact(record), EXPORTED_FILE)
            self._ledger.records[EXPORTED_FILE] = replace(record, fidelity=figures)

    def _verify(self, artifact: OnnxArtifact, file: str) -> Fidelity:
        self._verified.add(file)
        export = self._ledger.records.get(EXPORTED_FILE)
        baseline = self._ledger.artifact(export) if export and file != EXPORTED_FILE else None
        return self._verifier.verify(artifact, file, baseline)

    def _report(self, step: Step, record: ArtifactRecord) -> None:
        if step.stage is not Stage.OPTIMIZE:
            return
        self._console.say(f"fused: {fused_words(record.fusions) or 'nothing'}")
        if not any(fusion.fused for fusion in record.fusions):
            self._console.warn(f"{step.file}: no rule knows an operator of this graph")
        for fusion in record.fusions:
            for reason, count in fusion.left.items():
                left = f"{count} of {fusion.found} {fusion.kind} left as they were"
                self._console.warn(f"{step.file}: {left}: {reason}")


def _refuse_misfit(layout: Layout, step: Step, artifact: OnnxArtifact) -> None:
    """Refuses a graph that the program of a layout cannot load."""
    problem = misfit(layout, step.file, artifact)
    if problem is not None:
        errors = {Stage.EXPORT: ExportError, Stage.OPTIMIZE: OptimizeError}
        raise errors.get(step.stage, QuantizeError)(
            problem, "choose another precision or --optimize level, or --layout hub"
        )


def _joined(reasons: Sequence[str]) -> str:
    """Joins what each method says; a reason that two share is said once."""
    parts: list[str] = []
    said: set[str] = set()
    for text in reasons:
        what, _, why = text.partition(": ")
        parts.append(f"{what}, for the same reason" if why in said else text)
        said.add(why or text)
    return "; ".join(parts)


def refuse_too_new(record: ArtifactRecord, request: Request) -> None:
    """Raises UsageError when --min_onnxruntime cannot run a file."""
    oldest = request.min_onnxruntime
    if oldest is not None and not record.runs_on(oldest):
        raise UsageError(
            f"{record.path} needs ONNX Runtime {record.min_onnxruntime}, and --min_onnxruntime is "
            f"{oldest[0]}.{oldest[1]}",
            "try --opset 17, or --optimize 0",
        )


def _refuse_shortfall(step: Step, fidelity: Fidelity | None) -> None:
    """Raises FidelityError when a graph is below the step's floor."""
    if step.floor is None or fidelity is None:
        return
    problem = shortfall(fidelity, step.floor)
    if problem is None:
        return
    hint = "the source model and this file disagree; please report the model"
    if step.precision is not Precision.FLOAT32:
        reachable = max(0.0, fidelity.similarity.mean - 0.005)
        hint = f"try another precision, as Float16; or accept it with --min_cosine {reachable:.2f}"
    raise FidelityError(f"{step.file} is not published: {problem}", hint)
