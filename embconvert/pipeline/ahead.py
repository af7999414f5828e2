"""Graphs made of other graphs, each in a process of its own; some are begun before their turn.

Running a graph to verify it is timed, so nothing else is done meanwhile. The rest need not wait:
the optimized graph is made while the source gives the reference, and two quantized files are made
at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embconvert.console import Console
from embconvert.errors import OptimizeError, QuantizeError
from embconvert.export.exporter import Exporter
from embconvert.folder.staging import Staging
from embconvert.models.values import OnnxArtifact, OptimizedModel, QuantizedModel
from embconvert.pipeline.ledger import Ledger
from embconvert.pipeline.source_process import Source
from embconvert.pipeline.tasks import Calibration, optimize_graph, quantize_graph
from embconvert.plan.steps import Stage, Step
from embconvert.processes.metering import Meter
from embconvert.processes.workers import Worker, WorkerCrashed, Workers
from embconvert.request.records import Request
from embconvert.rewrite.optimizer import Optimizer

Made = tuple[OptimizedModel | QuantizedModel, Meter]


@dataclass
class _Begun:
    """A file that is being made, or was.

    Attributes:
        step: Whose file it is.
        method: Of its stage.
        source: The graph that it is made of.
        worker: Makes it.
        early: Whether it was begun before its turn, and so beside something else.
        again: Whether it is made once more, with nothing beside it.
        made: What became of it.
        failure: Or what went wrong.
        lacked_memory: Whether the process was ended for that.
    """

    step: Step
    method: str
    source: OnnxArtifact
    worker: Worker
    early: bool = False
    again: bool = False
    made: Made | None = None
    failure: Exception | None = None
    lacked_memory: bool = False

    def wait(self) -> None:
        """Waits for its end, whatever that is."""
        if self.made is not None or self.failure is not None:
            return
        with self.worker:
            try:
                self.made = self.worker.result()
            except WorkerCrashed as crash:
                self.fail(crash)
            except Exception as failure:  # noqa: BLE001 - for who asks for the file
                self.failure = failure

    def fail(self, crash: WorkerCrashed) -> None:
        """Notes that the process ended."""
        self.lacked_memory = crash.out_of_memory
        error = OptimizeError if self.step.stage is Stage.OPTIMIZE else QuantizeError
        self.failure = error(
            f"{self.step.file} could not be made: {crash}",
            crash.hint,
        )


class Ahead:
    """Makes optimized and quantized files in a staging folder.

    Attributes:
        has_room: Whether the machine has the memory and the CPUs to do two things at a time.
    """

    def __init__(
        self,
        request: Request,
        *,
        staging: Staging,
        ledger: Ledger,
        source: Source,
        workers: Workers,
        console: Console,
        has_room: bool,
    ) -> None:
        self._request = request
        self._staging = staging
        self._ledger = ledger
        self._source = source
        self._workers = workers
        self._console = console
        self.has_room = has_room
        self._begun: dict[str, _Begun] = {}

    def __contains__(self, step: Step) -> bool:
        """Whether its file was begun, and is not asked for yet."""
        return step.file in self._begun

    def start(self, step: Step, method: str, source: OnnxArtifact) -> None:
        """Begins a step's file, if it isn't begun.

        Args:
            step: Optimizes or quantizes.
            method: Its stage's: an optimizer, a precision.
            source: The graph that it is made of.
        """
        if step in self:
            return
        path = self._staging.path(step.file)
        path.unlink(missing_ok=True)
        task, named = self._task(step, method)
        begun = _Begun(step, method, source, self._workers.take(source.total_size_bytes))
        self._begun[step.file] = begun
        try:
            begun.worker.begin(task, source, path, **named)
        except WorkerCrashed as crash:
            begun.fail(crash)

    def start_early(self, step: Step, source: OnnxArtifact) -> None:
        """Begins a step's file before its turn, where there is room; see start().

        Args:
            step: Optimizes or quantizes, by the first of its methods.
            source: The graph that it is made of.
        """
        if self.has_room and step not in self:
            self._console.say(f"{step.stage}: {step.file}, meanwhile")
            self.start(step, methods_of(step)[0], source)
            self._begun[step.file].early = True

    def finish(self, step: Step) -> Made:
        """Waits for a file that was begun.

        Raises:
            EmbconvertError: The stage fails, or its process ended.
        """
        begun = self._begun.pop(step.file)
        begun.wait()
        if begun.lacked_memory and not begun.again and (begun.early or self._begun):
            self._console.warn(f"{begun.failure}; once more, with nothing beside it")
            self.has_room = False
            self.wait()
            self.start(step, begun.method, begun.source)
            self._begun[step.file].again = True
            return self.finish(step)
        if begun.failure is not None:
            raise begun.failure
        assert begun.made is not None
        return begun.made

    def wait(self) -> None:
        """Waits for all that was begun; what fails, fails when it is asked for."""
        for begun in self._begun.values():
            begun.wait()

    def give_up(self, file: str) -> None:
        """Ends what is being made of a file that will be made anew, or not at all."""
        for begun in [b for b in self._begun.values() if b.step.source == file]:
            begun.worker.kill()
            del self._begun[begun.step.file]

    def _task(self, step: Step, method: str) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Returns what makes a step's file, and its named arguments."""
        named: dict[str, Any] = {"level": step.level, "work": self._staging.work}
        if step.stage is Stage.OPTIMIZE:
            return optimize_graph, named | {
                "optimizer": Optimizer(method),
                "keep_weights_apart": not step.is_published,
                "skip_shape_inference": self._request.skip_shape_inference,
            }
        return quantize_graph, named | {
            "precision": step.precision,
            "options": step.options,
            "calibration": Calibration(
                dataset=self._request.calibration_dataset,
                folder=self._staging.folder,
                max_seq_length=self._source.max_seq_length,
                kind=self._source.kind,
                late_interaction=self._ledger.late_interaction,
            ),
        }


def methods_of(step: Step) -> tuple[str, ...]:
    """Returns how a step's file can be made, what is tried first first."""
    methods: dict[Stage, tuple[str, ...]] = {
        Stage.EXPORT: tuple(Exporter),
        Stage.OPTIMIZE: tuple(Optimizer),
        Stage.QUANTIZE: (str(step.precision),),
    }
    return methods[step.stage]
