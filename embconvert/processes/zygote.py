"""A process that has imported libraries and forks itself for each worker.

Importing torch takes seconds. A fork has the libraries at once, starts from the state after the
imports whatever other workers did, and frees its memory when it ends.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from embconvert.processes.child import serve
from embconvert.processes.lifetime import die_with
from embconvert.processes.light_imports import import_all
from embconvert.processes.signals import leave_to_parent
from embconvert.processes.starting import start
from embconvert.processes.streams import give_up_stdout
from embconvert.stderr import clean_stderr

_FORK = "fork"
#: What every task on a graph imports.
_GRAPH_LIBRARIES = (
    "embconvert.pipeline.tasks", "embconvert.pipeline.file_tasks", "onnxruntime", "onnx_ir",
    "tokenizers",
)  # fmt: skip
#: What loading and exporting a source model imports.
SOURCE_LIBRARIES = (
    "embconvert.pipeline.tasks", "torch.onnx", "sentence_transformers",
    "transformers.modeling_utils", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)  # fmt: skip


class Zygote:
    """Forks workers that have imported `preload`; ends with the process that created it."""

    def __init__(self, preload: Sequence[str], *, debug: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, debug, os.getpid(), tuple(preload))
        )
        start(self._process)
        theirs.close()

    def fork(self, pipe: "Connection[Any, Any]") -> "Forked":
        """Starts a worker that serves a pipe; raises EOFError if the zygote has ended."""
        self._pipe.send((_FORK, 0))
        reduction.send_handle(self._pipe, pipe.fileno(), self._process.pid)
        return Forked(self, self._pipe.recv())

    def end(self, pid: int, signal_number: int) -> int:
        """Sends a signal (0 for none) to a worker; returns its exit code when it has ended."""
        try:
            self._pipe.send((signal_number, pid))
            code: int = self._pipe.recv()
        except (EOFError, OSError):  # all workers end with the zygote
            return -signal.SIGKILL
        return code

    def close(self) -> None:
        """Ends the zygote and all its workers."""
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()


class Forked:
    """A worker's process, with the methods of multiprocessing's class that Worker needs."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote = zygote
        self.pid = pid
        self.exitcode: int | None = None

    def join(self, timeout: float | None = None) -> None:
        assert timeout is None
        if self.exitcode is None:
            self.exitcode = self._zygote.end(self.pid, 0)

    def kill(self) -> None:
        if self.exitcode is None:
            self.exitcode = self._zygote.end(self.pid, signal.SIGKILL)


class Zygotes:
    """The two zygotes: with torch, and without. They end with the process that created them."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug
        self._made: dict[Sequence[str], Zygote] = {}

    def for_source(self) -> Zygote:
        """Returns the one that loads models; not for models with their own code."""
        self.for_graphs()  # it imports in the background
        return self._of(SOURCE_LIBRARIES)

    def for_graphs(self) -> Zygote:
        """Returns the one without torch."""
        return self._of(_GRAPH_LIBRARIES)

    def _of(self, libraries: Sequence[str]) -> Zygote:
        if libraries not in self._made or not self._made[libraries].is_alive:
            # Workers have all files of the model; only the parent process downloads.
            with _environment(HF_HUB_OFFLINE="1"):
                self._made[libraries] = Zygote(libraries, debug=self._debug)
        return self._made[libraries]

    def close(self) -> None:
        """Ends both, and all their workers."""
        for zygote in self._made.values():
            zygote.close()


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(pipe: "Connection[Any, Any]", debug: bool, parent: int, preload: Sequence[str]) -> None:
    leave_to_parent()
    die_with(parent)
    give_up_stdout(debug=debug)
    clean_stderr()
    import_all(preload)
    context = multiprocessing.get_context("fork")
    workers: dict[int, Any] = {}
    while True:
        try:
            asked, pid = pipe.recv()
        except (EOFError, OSError):
            return
        if asked == _FORK:
            theirs: Connection[Any, Any] = Connection(reduction.recv_handle(pipe))
            worker = context.Process(target=_serve, args=(pipe, theirs, debug, os.getpid()))
            worker.start()
            theirs.close()
            assert worker.pid is not None
            workers[worker.pid] = worker
            pipe.send(worker.pid)
            continue
        worker = workers.pop(pid)
        if asked:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
        worker.join()
        pipe.send(worker.exitcode)


def _serve(
    control: "Connection[Any, Any]", pipe: "Connection[Any, Any]", debug: bool, parent: int
) -> None:
    control.close()
    serve(pipe, debug, parent, ())
