"""Starts the child processes that do the heavy work.

If a library crashes or is killed for lack of memory, the run ends with an error that says so. The
memory of a stage is freed when its process ends, and a run can be stopped at any moment.
"""

from collections.abc import Sequence
from typing import Self

from embconvert.console import Console
from embconvert.processes.time_limits import graph_limit
from embconvert.processes.worker import Worker
from embconvert.processes.zygote import SOURCE_LIBRARIES, Zygote, Zygotes


class Workers:
    """Starts child processes; a context manager that ends all of them.

    Those for graphs are forked from one process that has imported their libraries.

    Args:
        console: Where their warnings go.
        zygotes: Processes to fork workers from, also for the source; None makes one for this run.
        graph_seconds: Time limit for work on a graph; None for one by size, plus some time per
            text.
    """

    def __init__(
        self, console: Console, *, zygotes: Zygotes | None = None, graph_seconds: int | None = None
    ) -> None:
        self._console = console
        self._graph_seconds = graph_seconds
        self._zygotes = zygotes
        self._own_zygotes = Zygotes(debug=console.debug)
        self._for_source: Worker | None = None
        self._started: list[Worker] = []

    def prepare_for_source(self) -> None:
        """Starts the process that take_for_source() returns; it imports in the background.

        A second call before that does nothing.
        """
        self._for_source = self._for_source or self._start_for_source()

    def drop_for_source(self) -> None:
        """Ends the process that is prepared for the source, if there is one."""
        if self._for_source is not None:
            self._for_source.kill()
            self._for_source = None

    def take_for_source(self) -> Worker:
        """Returns a fresh process for loading a source model."""
        worker, self._for_source = self._for_source, None
        return worker or self._start_for_source()

    def _start_for_source(self) -> Worker:
        zygote = self._zygotes.for_source() if self._zygotes else None
        return self._start(SOURCE_LIBRARIES, zygote)

    def prepare(self) -> None:
        """Starts importing the libraries for graphs, for a later take()."""
        self._graphs.for_graphs()

    def take(self, size_bytes: int = 0) -> Worker:
        """Returns a fresh process for work on a graph, whose size determines the time limit."""
        worker = self._start((), self._graphs.for_graphs())
        worker.limit = graph_limit(size_bytes, self._graph_seconds)
        return worker

    @property
    def _graphs(self) -> Zygotes:
        return self._zygotes or self._own_zygotes

    def _start(self, preload: Sequence[str], zygote: Zygote | None) -> Worker:
        worker = Worker(self._console, preload, zygote=zygote)
        self._started.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.kill()
        self._own_zygotes.close()
