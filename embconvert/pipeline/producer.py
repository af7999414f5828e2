"""Makes the files of a run's steps, each with the first of its methods that works."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embconvert.errors import FidelityError, OptimizeError, UnsupportedModelError
from embconvert.export.exporter import Exporter
from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.values import OnnxArtifact, StageResult
from embconvert.pipeline.checks import (
    STAGE_ERRORS,
    joined_reasons,
    refuse_other_outputs,
    refuse_too_long,
)
from embconvert.pipeline.file_tasks import Calibration, derive_file, optimize_graph, quantize_graph
from embconvert.pipeline.record import Made, make_record
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.scheduler import DoOver
from embconvert.pipeline.speeds import limit_of
from embconvert.plan.steps import Stage, Step
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.metering import Meter
from embconvert.processes.worker import Work
from embconvert.rewrite.optimizer import Optimizer


class Producer:
    """Makes files in a staging folder.

    Attributes:
        made: Graphs that are not verified yet, by file.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._traced: tuple[OnnxArtifact, Meter] | None = None
        self.made: dict[str, Made] = {}
        #: Why a step's earlier methods failed, by file.
        self._reasons: dict[str, list[str]] = {}
        #: Files that no method makes correctly; jobs on them may have waited for the making only.
        self._given_up: set[str] = set()

    def trace(self, step: Step) -> Work[None]:
        """Traces the source's graph."""
        with self.next_method_on_failure(step):
            exporter = Exporter(self._method(step))
            self._traced = yield from self._run.source.trace(
                self._run.staging.work / "traced.onnx", exporter
            )

    def write(self, step: Step) -> Work[None]:
        """Writes the traced graph with its weights."""
        assert self._traced is not None
        with self.next_method_on_failure(step):
            exported, meter = yield from self._run.source.write(
                self._fresh_path(step), keep_weights_apart=not step.is_published
            )
            self._note_made(step, exported, self._traced[1].followed_by(meter))

    def make_or_take(self, step: Step) -> Work[None]:
        """Makes a graph, or reuses an earlier one that was made from an identical graph."""
        digest = self._digest_of_source(step)
        found = self._run.reuse.take([step], {step.source: digest}) if digest else {}
        if found:
            self._run.console.say(f"{step.stage}: {step.file} is up to date")
            self._run.results.records |= found
        else:
            yield from self.make(step)

    def _digest_of_source(self, step: Step) -> str | None:
        """Returns the digest of the graph that a step works on; None before it is written."""
        if step.source in self._run.results.records:
            return self._run.results.digest_of(step.source)
        made = self.made.get(step.source or "")
        return made.artifact.digest if made else None

    def make(self, step: Step) -> Work[None]:
        """Makes an optimized or quantized graph, or a derived file."""
        refuse_too_long(step, self._longest)
        if step.source in self._given_up:
            raise STAGE_ERRORS[step.stage](
                f"{step.file} is not made, because {step.source} is not published",
                "see the other error",
            )
        source = self._graph_for(step)
        with self.next_method_on_failure(step):
            yield from self._make_of(source, step)

    def _graph_for(self, step: Step) -> OnnxArtifact:
        """Returns the graph that a step works on, which may not be verified or written yet."""
        if step.source not in self._run.results.records:
            made = self.made.get(step.source or "")
            if made is not None:
                return made.artifact
            if step.stage is Stage.OPTIMIZE and self._traced is not None:
                return self._traced[0]
        return self._run.results.source_of(step)

    def _make_of(self, source: OnnxArtifact, step: Step) -> Work[None]:
        task, named = self._task(step)
        path = self._fresh_path(step)
        error = STAGE_ERRORS[step.stage]
        try:
            with self._run.workers.take(source.total_size_bytes) as worker:
                model: StageResult
                model, meter = yield worker.begin(task, source, path, **named)
        except WorkerCrashed as crash:
            raise error(f"{step.file} could not be made: {crash}", crash.hint) from crash
        refuse_other_outputs(step, source, model.artifact)
        self._note_made(step, model, meter)

    def _task(self, step: Step) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Returns the task that makes a step's file, and its named arguments."""
        named: dict[str, Any] = {"work": self._run.staging.work}
        if step.stage is Stage.OPTIMIZE:
            return optimize_graph, named | {
                "level": step.level,
                "replaced": step.replaced,
                "optimizer": Optimizer(self._method(step)),
                "keep_weights_apart": not step.is_published,
                "skip_shape_inference": self._run.prepared.request.skip_shape_inference,
            }
        loaded = self._run.reuse.loaded
        calibration = Calibration(
            dataset=self._run.prepared.request.calibration_dataset,
            folder=self._run.staging.folder,
            kind=self._run.prepared.resolved.kind,
            input_rules=loaded.input_rules if loaded else None,
            prompts=loaded.prompts.distinct if loaded else (),
        )
        named |= {"precision": step.precision, "calibration": calibration}
        if step.stage is Stage.DERIVE:
            return derive_file, named | {"form": step.forms[-1], "level": step.level}
        return quantize_graph, named | {"options": step.options, "replaced": step.replaced}

    def _fresh_path(self, step: Step) -> Path:
        path = self._run.staging.path(step.file)
        path.unlink(missing_ok=True)
        return path

    def _note_made(self, step: Step, model: StageResult, meter: Meter) -> None:
        self.made[step.file] = Made(model=model, meter=meter, method=self._method(step))
        if not step.is_published:
            self._run.results.records[step.file] = self.record(step, None)

    def record(self, step: Step, fidelity: Fidelity | None) -> ArtifactRecord:
        """Returns the record of a graph that was made, which is then verified."""
        made, results = self.made.pop(step.file), self._run.results
        made_from = None if step.source is None else results.source_of(step).sha256
        return make_record(
            step, made, made_from=made_from, key=results.key(step), fidelity=fidelity
        )

    @property
    def _longest(self) -> int | None:
        """The most tokens that the model reads of a text or query; None for any number."""
        loaded = self._run.reuse.loaded
        if loaded is None:
            return None
        if not isinstance(loaded.input_rules, LateInteraction):
            return limit_of(loaded.input_rules, loaded.max_seq_length)
        kinds = (loaded.input_rules.limit(loaded.max_seq_length, query=q) for q in (False, True))
        limits = list(kinds)
        return None if None in limits else max(filter(None, limits))

    def _method(self, step: Step) -> str:
        """Returns the current method of a step."""
        return _methods_of(step)[len(self._reasons.get(step.file, ()))]

    @contextmanager
    def next_method_on_failure(self, step: Step) -> Iterator[None]:
        """Raises DoOver, to repeat a step with its next method if it has one, for a wrong graph."""
        try:
            yield
        except (FidelityError, OptimizeError, UnsupportedModelError) as failure:
            cause = failure.__cause__
            if isinstance(cause, WorkerCrashed) and cause.out_of_memory:
                raise  # another method would only hide that there is too little memory
            reasons = self._reasons.setdefault(step.file, [])
            reasons.append(failure.message)
            self.made.pop(step.file, None)
            following = _methods_of(step)[len(reasons) :]
            if following:
                self._run.console.warn(f"{failure.message}; trying {following[0]} instead")
                raise DoOver(step.file) from failure
            reasons.pop()
            self._given_up.add(step.file)
            if step.stage is Stage.EXPORT:
                message = joined_reasons([*reasons, failure.message])
                raise UnsupportedModelError(message, failure.hint) from failure
            raise


def _methods_of(step: Step) -> tuple[str, ...]:
    """Returns the methods of a step, in order of preference."""
    methods: dict[Stage, tuple[str, ...]] = {
        Stage.EXPORT: tuple(Exporter),
        Stage.OPTIMIZE: tuple(Optimizer),
        Stage.QUANTIZE: (str(step.precision),),
        Stage.DERIVE: tuple(map(str, step.forms[-1:])),
    }
    return methods[step.stage]
