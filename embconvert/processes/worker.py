"""A child process that runs tasks.

Work that waits for processes is a generator: it yields each `RunningTask` and receives its result.
`finish()` runs one such generator; `pipeline.scheduler` runs several in parallel.
"""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol, Self, TypeVar

from embconvert.console import Console, Progress
from embconvert.processes.child import serve
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.program import Program
from embconvert.processes.starting import start
from embconvert.processes.time_limits import TimeLimit
from embconvert.processes.zygote import Forked, Zygote

#: For a task's clean-up; Kubernetes and docker kill after 10 seconds.
_PATIENCE_S = 5.0
# At most this much of one wait counts, so that time during which both processes were stopped
# (Ctrl-Z) does not.
_TICK_S = 1.0

_Result = TypeVar("_Result")
Work = Generator["RunningTask", Any, _Result]


class Reporter(Protocol):
    """Reports what a task does while it works."""

    def warn(self, message: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass

    def tell(self, progress: Progress) -> None:
        pass


class RunningTask:
    """A task that a worker runs.

    Attributes:
        pipe: Readable when take() has a message.
        is_finished: Whether result() is known.
        cpu_s: Its CPU time, of all threads; known at the end.
    """

    def __init__(
        self, worker: "Worker", advance: Callable[[int], None], limit: TimeLimit | None
    ) -> None:
        self._worker = worker
        self._advance = advance
        self._limit = limit
        self._left_s = limit.seconds if limit else 0.0
        self.pipe: Connection[Any, Any] = worker.pipe
        self.is_finished = False
        self.cpu_s = 0.0
        self._value: Any = None
        self._error: BaseException | None = None

    def take(self) -> None:
        """Handles the next message of the process; blocks until there is one."""
        try:
            with self._worker.until_it_ends():
                kind, value = self.pipe.recv()
        except WorkerCrashed as crash:
            self.fail(crash)
            return
        if kind == "advance":
            self._advance(value)
            self._left_s += value * self._limit.per_text if self._limit else 0.0
        elif kind == "spent":
            self.cpu_s = value
        elif kind == "warn":
            self._worker.console.warn(value)
        elif kind == "tell":
            self._worker.console.tell(value)
        else:
            self.is_finished = True
            self._value, self._error = (None, value) if kind == "raise" else (value, None)

    def fail(self, error: BaseException) -> None:
        self.is_finished, self._error = True, error

    def pass_time(self, seconds: float) -> None:
        """Subtracts waiting time; kills the process when no time remains."""
        if self._limit is None or self.is_finished:
            return
        self._left_s -= seconds
        if self._left_s <= 0:
            self._worker.kill()
            self.fail(self._limit.error)

    @property
    def left_s(self) -> float:
        """The remaining time in seconds."""
        return self._left_s if self._limit else _TICK_S

    @property
    def crash(self) -> WorkerCrashed | None:
        """The crash of the process, if it crashed."""
        return self._error if isinstance(self._error, WorkerCrashed) else None

    def result(self) -> Any:
        """Returns the result of the task.

        Raises:
            EmbconvertError: The task raised it, or exceeded its time limit.
            OSError: The task raised it.
            WorkerCrashed: The process ended.
            RuntimeError: The task raised anything else; the message is its traceback.
        """
        if self._error is not None:
            raise self._error
        return self._value


def wait_for_any(tasks: Sequence[RunningTask]) -> None:
    """Waits until one of the tasks is finished, and handles the messages of all."""
    while not any(task.is_finished for task in tasks):
        begin = time.monotonic()
        ready = wait(
            [task.pipe for task in tasks],
            timeout=max(0.0, min(_TICK_S, *(task.left_s for task in tasks))),
        )
        waited_s = min(time.monotonic() - begin, _TICK_S)
        for task in tasks:
            if task.pipe in ready:
                task.take()
            task.pass_time(waited_s)


def finish(work: Work[_Result]) -> _Result:
    """Runs work to its end, alone, and returns its result."""
    try:
        task = next(work)
        while True:
            wait_for_any([task])
            task = resume(work, task)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        work.close()


def resume(work: Work[Any], task: RunningTask) -> RunningTask:
    """Continues work with the result of its task; returns the next, or raises StopIteration."""
    try:
        value = task.result()
    except BaseException as error:  # noqa: BLE001 - the work handles it
        return work.throw(error)
    return work.send(value)


class Worker:
    """A child process that runs one task after another; a context manager that ends it.

    Args:
        console: Where its tasks' warnings go.
        preload: Modules that it imports before its first task.
        is_program: Whether it is a Program, whose tasks may start processes.
        is_silent: Whether a Program's stderr is dropped.
        zygote: Process to fork, which has imported the modules; None starts a new process.

    Attributes:
        limit: Time limit of each task that has none of its own; None for no limit.
    """

    def __init__(
        self,
        console: Console,
        preload: Sequence[str] = (),
        *,
        is_program: bool = False,
        is_silent: bool = False,
        zygote: Zygote | None = None,
    ) -> None:
        self.console = console
        self.limit: TimeLimit | None = None
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess | Program | Forked
        if zygote is not None:
            self._process = zygote.fork(theirs)
        elif is_program:
            self._process = Program(
                theirs, self.pipe, preload=preload, debug=console.debug, is_silent=is_silent
            )
        else:
            self._process = context.Process(
                target=serve, args=(theirs, console.debug, os.getpid(), tuple(preload)), daemon=True
            )
            start(self._process)
        theirs.close()

    def begin(
        self,
        task: Callable[..., Any],
        *arguments: Any,
        advance: Callable[[int], None] = lambda _: None,
        within: TimeLimit | None = None,
        **named: Any,
    ) -> RunningTask:
        """Starts `task(reporter, *arguments, **named)` in the process, which must be idle.

        Args:
            task: A module-level function.
            arguments: Picklable values.
            advance: Called with the progress that the task reports.
            within: Time limit; None for that of the worker.
            named: Picklable values.
        """
        running = RunningTask(self, advance, within or self.limit)
        try:
            with self.until_it_ends():
                self.pipe.send((task, arguments, named))
        except WorkerCrashed as crash:
            running.fail(crash)
        return running

    def call(self, task: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Runs a task and waits for its result; see begin() and RunningTask.result()."""
        running = self.begin(task, *arguments, **named)
        wait_for_any([running])
        return running.result()

    @contextlib.contextmanager
    def until_it_ends(self) -> Iterator[None]:
        """Turns the end of the process into WorkerCrashed."""
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise WorkerCrashed(self._process.exitcode) from error

    def stop(self) -> None:
        """Asks the process to end, and kills it if it does not."""
        assert not isinstance(self._process, Forked), "a fork's clean-up is its parent's"
        self._process.terminate()
        self.pipe.close()
        self._process.join(_PATIENCE_S)
        self.kill()

    def kill(self) -> None:
        """Kills the process; a second call does nothing."""
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
