"""Child processes that do the heavy work.

A library that crashes or is killed for memory then ends in an error that says so, what a stage
held is given back to the system when it ends, and a run can be stopped at any moment.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Protocol, Self

from embconvert.console import Console
from embconvert.processes.child import serve
from embconvert.processes.copies import Copied, ask_for_copy, copy_process
from embconvert.processes.limits import cpu_limit_s, few_processes
from embconvert.processes.resources import address_space_limit_bytes
from embconvert.processes.starting import start
from embconvert.processes.time_limits import TimeLimit, graph_limit
from embconvert.processes.zygote import SOURCE_LIBRARIES, Forked, Zygote, Zygotes

#: What a task has to clean up in; Kubernetes and docker kill after 10 seconds.
_PATIENCE_S = 5.0
# No more is counted of one wait, so that the time for which both were stopped (Ctrl-Z) is not.
_TICK_S = 1.0


class Reporter(Protocol):
    """What a task may tell while it works."""

    def warn(self, message: str) -> None:
        """Tells what the user should know."""

    def advance(self, amount: int) -> None:
        """Tells of progress."""


class WorkerCrashed(Exception):  # noqa: N818 - it is not this program's error
    """The process ended in the middle of a task.

    Attributes:
        out_of_memory: Whether it was killed as the system does when memory runs out.
        hint: What to do about it.
    """

    def __init__(self, exit_code: int | None) -> None:
        killed_by = -(exit_code or 0)
        name = _signal_name(killed_by) if killed_by > 0 else f"exit code {exit_code}"
        reason = f"a library crashed ({name})"
        limit = address_space_limit_bytes()
        self.out_of_memory = killed_by == signal.SIGKILL
        self.hint = "please report the model"
        if killed_by == signal.SIGXCPU:
            reason = f"its CPU time is used up: `ulimit -t` allows {cpu_limit_s()} s"
            self.hint = "raise the limit, and run it again"
        elif self.out_of_memory:
            reason = "the system killed it, most likely for lack of memory"
        elif limit is not None:
            # Few libraries look whether they got what they asked for.
            self.out_of_memory = True
            reason += f", most likely for lack of memory: `ulimit -v` allows {limit / 1e9:.1f} GB"
        few = few_processes()
        if killed_by == signal.SIGABRT and few is not None:
            reason += f"; {few}"
            self.hint = "raise the limit"
        if self.out_of_memory:
            self.hint = "give it more memory"
        super().__init__(reason)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


class Workers:
    """Starts child processes; a context manager that ends all of them.

    Those for graphs are forks of one process that has imported their libraries.

    Args:
        console: Where their warnings go.
        zygotes: What to fork them from, and who works on the source, too; None makes one for this
            run.
        graph_seconds: How long work on a graph may take; None means by its size, and some time
            for each text.
    """

    def __init__(
        self,
        console: Console,
        *,
        zygotes: Zygotes | None = None,
        graph_seconds: int | None = None,
    ) -> None:
        self._console = console
        self._graph_seconds = graph_seconds
        self._zygotes = zygotes
        self._own_zygotes = Zygotes(debug=console.debug)
        self._for_source: Worker | None = None
        self._started: list[Worker] = []

    def prepare_for_source(self) -> None:
        """Starts the process that take_for_source() returns."""
        self._for_source = self._start_for_source()

    def take_for_source(self) -> "Worker":
        """Returns a fresh process to load a source model in."""
        worker, self._for_source = self._for_source, None
        return worker or self._start_for_source()

    def _start_for_source(self) -> "Worker":
        zygote = self._zygotes.for_source() if self._zygotes else None
        return self._start(SOURCE_LIBRARIES, zygote)

    def prepare(self) -> None:
        """Has the libraries for graphs imported by the time that take() is called."""
        self._graphs.for_graphs()

    def take(self, size_bytes: int = 0) -> "Worker":
        """Returns a fresh process for work on a graph.

        Args:
            size_bytes: Of the graph; how long a task may take depends on it.
        """
        worker = self._start((), self._graphs.for_graphs())
        worker.limit = graph_limit(size_bytes, self._graph_seconds)
        return worker

    @property
    def _graphs(self) -> Zygotes:
        return self._zygotes or self._own_zygotes

    def _start(self, preload: Sequence[str], zygote: Zygote | None) -> "Worker":
        worker = Worker(self._console, preload, zygote=zygote)
        self._started.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._started:
            worker.kill()
        self._own_zygotes.close()


class Worker:
    """A child process that runs one task after another; a context manager that ends it.

    Args:
        console: Where its tasks' warnings go.
        preload: Modules that it imports while it waits for its first task.
        has_children: Whether its tasks start processes of their own.
        zygote: Has the modules, and is forked; None starts a new process.

    Attributes:
        limit: How long each task may take that is given no other limit; None for ever.
    """

    def __init__(
        self,
        console: Console,
        preload: Sequence[str] = (),
        *,
        has_children: bool = False,
        zygote: Zygote | None = None,
    ) -> None:
        self._console = console
        self.limit: TimeLimit | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess | Forked | Copied
        if zygote is not None:
            self._process = zygote.fork(theirs)
        else:
            self._process = context.Process(
                target=serve,
                args=(theirs, console.debug, os.getpid(), tuple(preload)),
                daemon=not has_children,
            )
            start(self._process)
        theirs.close()

    def call(
        self,
        task: Callable[..., Any],
        *arguments: Any,
        advance: Callable[[int], None] = lambda _: None,
        within: TimeLimit | None = None,
        **named: Any,
    ) -> Any:
        """Runs `task(reporter, *arguments, **named)` in the process.

        Args:
            task: A function of a module.
            arguments: Picklable values.
            advance: Called with the progress that the task reports.
            within: How long it may take; None for the limit of the process.
            named: Picklable values.

        Returns:
            What the task returns.

        Raises:
            EmbconvertError: The task raised it, or took longer than it may.
            OSError: The task raised it.
            WorkerCrashed: The process ended.
            RuntimeError: The task raised anything else; the message is its traceback.
        """
        self.begin(task, *arguments, **named)
        return self.result(advance, within)

    def begin(self, task: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Begins what call() does; result() is due before the next task.

        Raises:
            WorkerCrashed: The process ended.
        """
        with self._until_it_ends():
            self._pipe.send((task, arguments, named))

    def result(
        self,
        advance: Callable[[int], None] = lambda _: None,
        within: TimeLimit | None = None,
    ) -> Any:
        """Waits for what was begun; returns and raises as call().

        What the task reported meanwhile is told now.
        """
        limit = within or self.limit
        left_s = limit.seconds if limit else 0.0
        with self._until_it_ends():
            while True:
                if limit is not None:
                    left_s = self._wait(left_s, limit)
                kind, value = self._pipe.recv()
                if kind == "advance":
                    advance(value)
                    left_s += value * limit.per_text if limit else 0.0
                elif kind == "warn":
                    self._console.warn(value)
                elif kind == "raise":
                    raise value
                else:
                    return value

    def _wait(self, left_s: float, limit: TimeLimit) -> float:
        """Waits until the process says something; returns how much time is left then.

        Raises:
            EmbconvertError: None is left; the process is ended.
        """
        while True:
            start = time.monotonic()
            says_something = self._pipe.poll(min(_TICK_S, max(left_s, 0.0)))
            left_s -= min(time.monotonic() - start, _TICK_S)
            if says_something:
                return left_s
            if left_s <= 0:
                self.kill()
                raise limit.error

    @contextlib.contextmanager
    def _until_it_ends(self) -> Iterator[None]:
        """Turns the end of the process into WorkerCrashed."""
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise WorkerCrashed(self._process.exitcode) from error

    def copy(self) -> "Worker":
        """Returns a copy of this worker as it is between two tasks; it ends with this one.

        Raises:
            WorkerCrashed: The process ended.
        """
        ours, theirs = multiprocessing.Pipe()
        made = copy(self)
        with self._until_it_ends():
            assert self._process.pid is not None
            self._pipe.send((copy_process, (), {}))
            made._process = ask_for_copy(self._pipe, self._process.pid, theirs)
        made._pipe = ours
        theirs.close()
        return made

    def stop(self) -> None:
        """Asks the process to end, and ends it when it doesn't."""
        assert isinstance(self._process, SpawnProcess), "a fork's clean-up is its parent's"
        self._process.terminate()
        self._pipe.close()
        self._process.join(_PATIENCE_S)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once; again is no error."""
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
