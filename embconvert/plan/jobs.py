"""The jobs of a run, as data: dependencies, parallelism and memory.

`pipeline.scheduler` runs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from embconvert.manifest import ArtifactRecord
from embconvert.models.forms import is_onnx
from embconvert.plan.plan import Plan
from embconvert.plan.reuse import holds, is_to_compare, to_make
from embconvert.plan.search import name_of
from embconvert.plan.steps import Stage, Step
from embconvert.request.records import Request

#: The process that has loaded the source model.
SOURCE_PROCESS = "source"
#: Memory of embconvert itself and of the process from which workers are forked.
BASE_BYTES = int(0.35e9)


class Action(StrEnum):
    LOAD = "load"
    TRACE = "trace"
    WRITE = "write"
    REFERENCE = "reference"
    KEPT_REFERENCE = "kept reference"
    COMPLETE_REFERENCE = "complete reference"
    OPTIMIZE = "optimize"
    QUANTIZE = "quantize"
    DERIVE = "derive"
    VERIFY = "verify"
    JUDGE = "judge"


_WORDS = {
    Action.LOAD: "load the source model",
    Action.REFERENCE: "embed the texts with the source model",
    Action.KEPT_REFERENCE: "read the source model's embeddings of an earlier run",
    Action.COMPLETE_REFERENCE: "embed all texts with the source model",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of a run.

    Attributes:
        name: Unique in the run.
        step: The step whose file it makes or verifies; None if it serves several.
        needs: Names of the jobs that must be done first.
        memory_bytes: Estimated peak memory.
        process: Process that it shares with other jobs, one at a time; None for its own.
        is_volatile: Whether its result exists only in that process, and is lost when the process
            ends.
        exclusive: Whether it must run alone, because it measures a speed.
        is_trial: Whether it is done only if no earlier candidate of a search meets the budget.
        is_judged_later: Whether another job (JUDGE) decides whether the file that it verifies is
            published.
        otherwise: The jobs that do the same without an earlier run's result, if that is not usable.
    """

    name: str
    action: Action
    step: Step | None = None
    needs: tuple[str, ...] = ()
    memory_bytes: int
    process: str | None = None
    is_volatile: bool = False
    exclusive: bool = False
    is_trial: bool = False
    is_judged_later: bool = False
    otherwise: tuple["Job", ...] = ()

    @property
    def is_silent(self) -> bool:
        """Whether no line announces it: it costs nothing, or says itself whether it is needed."""
        return self.is_trial or self.action is Action.JUDGE

    @property
    def words(self) -> str:
        """What it does, for users."""
        what = _WORDS.get(self.action, str(self.action))
        return f"{what} {self.step.file}" if self.step else what

    @property
    def complete(self) -> "Job":
        """Of the reference: the same of all texts."""
        action = Action.COMPLETE_REFERENCE
        return replace(self, name=str(action), action=action)

    @property
    def made_file(self) -> str | None:
        makes = (Action.TRACE, Action.WRITE, Action.OPTIMIZE, Action.QUANTIZE, Action.DERIVE)
        return self.step.file if self.step and self.action in makes else None


def build_jobs(
    plan: Plan,
    found: Mapping[str, ArtifactRecord],
    request: Request,
    *,
    in_pieces: bool,
    keeps_reference: bool = False,
) -> tuple[Job, ...]:
    """Returns the remaining jobs of a plan, in order of preference.

    Args:
        found: Records of files from earlier runs; see `reuse.reusable`.
        in_pieces: Whether the source and the graphs run layer by layer.
        keeps_reference: Whether an earlier run kept the reference.
    """
    whole = plan.verifies and not in_pieces
    run_bytes = plan.whole_graphs_bytes if whole else plan.memory_need_bytes
    return _Jobs(plan, found, request, run_bytes - BASE_BYTES, keeps_reference).build()


class _Jobs:
    def __init__(
        self,
        plan: Plan,
        found: Mapping[str, ArtifactRecord],
        request: Request,
        run_bytes: int,
        keeps_reference: bool,
    ) -> None:
        self._plan = plan
        self._found = found
        self._request = request
        self._run_bytes = run_bytes
        self._keeps_reference = keeps_reference
        self._times_trials = plan.search is not None and plan.search.budget.min_speedup is not None
        self._jobs: dict[str, Job] = {}
        #: Names of the jobs that make (_made) and verify (_ready) a file, by file.
        self._made: dict[str, str] = {}
        self._ready: dict[str, str] = {}

    def build(self) -> tuple[Job, ...]:
        missing = to_make(self._plan.steps, self._plan.search, self._found, self._request)
        for step in self._plan.steps:
            if step in missing:
                self._make(step)
            elif step.is_published and not holds(step, self._found[step.file], self._request):
                self._verify(step, step.file, None)
        before: str | None = None
        for step in missing:
            if step not in self._plan.steps:
                before = self._try(step, before)
        return tuple(self._jobs.values())

    def _add(self, job: Job) -> str:
        self._jobs.setdefault(job.name, job)
        return job.name

    def _make(self, step: Step) -> None:
        """Adds the jobs that make and verify a step's file."""
        if step.stage is Stage.EXPORT:
            made = self._export(step)
        else:
            action = Action(step.stage)
            made = self._add(
                Job(
                    name=f"{action} {step.file}",
                    action=action,
                    step=step,
                    # The source file may not be verified yet: if it fails, both are made again.
                    needs=_all(self._made.get(step.source or "")),
                    memory_bytes=self._making_bytes(step),
                )
            )
            self._made[step.file] = made
        self._ready[step.file] = made
        if step.is_published:
            self._verify(step, step.file, made)

    def _making_bytes(self, step: Step) -> int:
        """Approximate memory; another program's converter has the whole graph in it."""
        if any(form.rules.is_converted for form in step.forms[-1:]):
            return self._plan.converted_bytes
        whole = 0 if is_onnx(step.forms) else 3 * step.file_bytes(self._plan.parameters)
        return self._plan.beside_bytes + whole

    def _export(self, step: Step) -> str:
        traced = self._in_source(Action.TRACE, self._in_source(Action.LOAD), step=step)
        written = self._in_source(Action.WRITE, traced, step=step)
        # The optimizer needs only the graph: it reads the weights from the source's files. An
        # unpublished graph is written at once, without weights, because its key is needed.
        is_early = step.is_published and self._plan.optimizes
        self._made[step.file] = traced if is_early else written
        if self._plan.verifies:  # early, so that the source's memory is free for later jobs
            self._reference()
        return written

    def _reference(self) -> str:
        if not self._keeps_reference or str(Action.LOAD) in self._jobs:
            return self._in_source(Action.REFERENCE, self._in_source(Action.LOAD))
        load = self._job_in_source(Action.LOAD)
        return self._add(
            Job(
                name=str(Action.KEPT_REFERENCE),
                action=Action.KEPT_REFERENCE,
                memory_bytes=self._plan.beside_bytes,
                otherwise=(load, self._job_in_source(Action.REFERENCE, load.name)),
            )
        )

    def _in_source(self, action: Action, *needs: str, step: Step | None = None) -> str:
        return self._add(self._job_in_source(action, *needs, step=step))

    def _job_in_source(self, action: Action, *needs: str, step: Step | None = None) -> Job:
        return Job(
            name=f"{action} {step.file}" if step else str(action),
            action=action,
            step=step,
            needs=needs,
            memory_bytes=self._run_bytes,
            process=SOURCE_PROCESS,
            is_volatile=action in (Action.LOAD, Action.TRACE),
        )

    def _verify(self, step: Step, of: str, made: str | None, *, is_trial: bool = False) -> str:
        record = None if made else self._found.get(step.file)
        compares = step.floor is not None
        if record is not None:
            compares = is_to_compare(step, record, self._request)
        source = {other.file: other for other in self._plan.steps}.get(step.source or "")
        ready = self._ready.get(step.source or "")
        # A quantized graph runs beside the optimized one that it was made of, and is judged after
        # it: if that is wrong, both are made again.
        beside = ready and made and not is_trial and source and source.stage is Stage.OPTIMIZE
        needs = [made, self._ready.get(source.source or "") if source and beside else ready]
        if compares:
            needs.append(self._reference())
        verified = self._add(
            Job(
                name=f"{Action.VERIFY} {of}",
                action=Action.VERIFY,
                step=step,
                needs=_all(*needs),
                memory_bytes=self._run_bytes,
                exclusive=compares and is_trial and self._times_trials,
                is_trial=is_trial,
                is_judged_later=bool(beside),
            )
        )
        if beside:
            verified = self._add(
                Job(
                    name=f"{Action.JUDGE} {of}",
                    action=Action.JUDGE,
                    step=step,
                    needs=_all(verified, ready),
                    memory_bytes=0,
                )
            )
        self._ready[step.file] = verified
        return verified

    def _try(self, step: Step, before: str | None) -> str:
        """Adds the jobs of a search's candidate, after those of the previous one."""
        of = f"{step.file} ({name_of(step.precision, step.options.recipes)})"
        made = self._add(
            Job(
                name=f"{Action.QUANTIZE} {of}",
                action=Action.QUANTIZE,
                step=step,
                needs=_all(self._ready.get(step.source or ""), before),
                memory_bytes=self._plan.beside_bytes,
                is_trial=True,
            )
        )
        return self._verify(step, of, made, is_trial=True)


def _all(*needs: str | None) -> tuple[str, ...]:
    return tuple(need for need in needs if need is not None)
