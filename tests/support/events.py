"""Counts what a run does to the disk, in all its processes, and acts at a chosen moment.

Installed by fork_server.py in the process that is to run; its workers are forked from it, so they
have it too. The product knows nothing of it: Python's audit events tell of every open, rename,
link, removal and new folder, and a few functions are wrapped for what has no event (writes of
weights, fsync, the swap of two folders, the start and the end of a task).
"""

import errno
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_PATHS = {
    "os.rename": ("src", "dst"), "os.link": ("src", "dst"), "os.symlink": ("src", "dst"),
    "os.remove": ("path",), "os.rmdir": ("path",), "os.mkdir": ("path",), "os.chmod": ("path",),
}  # fmt: skip
_TAKES_ROOM = ("open", "os.mkdir", "os.link", "write", "fsync")
# Bytes of weights between two events: what Python hands over to the system at once.
_WRITE_BYTES = 1 << 14


class Events:
    """A counter that all processes of a run share.

    Args:
        parent: Only what happens below this folder counts.
        log: Gets a line for each event.
        left: How many events may happen before the act; None for no act.
        act: What happens then: a signal (`SIGKILL`), an error of the disk from then on (`ENOSPC`),
            or "remove", which removes the folder.
        whom: Who gets a signal: "main", or "self" for the worker that the event happens in.
    """

    def __init__(self, parent: Path, log: Path, *, left: int | None, act: str, whom: str) -> None:
        self._parent = str(parent)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._act = act
        self._main = os.getpid()
        self._whom = whom
        self._tokens: int | None = None
        if left is not None:
            # Taking a byte out of a pipe is a count that processes share.
            self._tokens, writer = os.pipe()
            os.write(writer, bytes(left))
            os.set_blocking(self._tokens, False)

    def happened(self, what: str) -> None:
        """Notes an event, or acts.

        Raises:
            OSError: That is the act.
        """
        where = "main" if os.getpid() == self._main else "worker"
        due = False
        if self._tokens is not None and (self._whom == "main" or where == "worker"):
            try:
                os.read(self._tokens, 1)
            except BlockingIOError:
                due = True
        os.write(self._log, f"{where} {what}{' <- here' * due}\n".encode())
        if not due:
            return
        if self._act.startswith("SIG"):
            self._tokens = None
            number = getattr(signal, self._act)
            os.kill(self._main if self._whom == "main" else os.getpid(), number)
        elif self._act == "remove":
            self._tokens = None
            shutil.rmtree(self._parent)
        elif what.split(maxsplit=1)[0] in _TAKES_ROOM:
            number = getattr(errno, self._act)
            raise OSError(number, os.strerror(number), self._parent)

    def install(self) -> None:
        """Starts to listen, for the rest of this process's life."""
        sys.addaudithook(self._audit)
        self._wrap()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and flags & _WRITING) or set(str(mode)) & set("wax+")
            if writes and isinstance(path, str | bytes | os.PathLike):
                self._note(event, [os.fspath(path)])
        elif event in _PATHS:
            names = [
                os.fspath(n) for n in arguments[: len(_PATHS[event])] if not isinstance(n, int)
            ]
            folder = arguments[-1] if isinstance(arguments[-1], int) else -1
            if event == "os.mkdir" or folder < 0:
                folder = -1
            self._note(event, names, folder)
        elif event == "ctypes.dlsym" and arguments[1] == "renameat2":
            self.happened("swap")

    def _note(self, event: str, names: list[Any], folder: int = -1) -> None:
        texts = [n.decode() if isinstance(n, bytes) else n for n in names]
        if folder >= 0:
            above = Path(f"/proc/self/fd/{folder}").readlink()
            texts = [str(above / text) for text in texts]
        # Much is asked for that changes nothing: folders that exist, files that don't.
        idle = {"os.mkdir": True, "os.remove": False}.get(event)
        if idle is not None and texts and os.path.lexists(texts[0]) is idle:
            return
        if any(text.startswith(self._parent) for text in texts):
            shown = [os.path.relpath(text, self._parent) for text in texts]
            self.happened(f"{event} {' '.join(shown)}")

    def _wrap(self) -> None:
        from embconvert.graph import streams
        from embconvert.processes.worker import RunningTask, Worker

        events = self
        write = streams.HashingFile.write
        begin, result = Worker.begin, RunningTask.result

        def counted_write(self: Any, data: Any) -> None:
            before = self.size_bytes // _WRITE_BYTES
            write(self, data)
            if self.size_bytes // _WRITE_BYTES > before:
                self._stream.flush()
                events.happened("write")

        def counted_begin(self: Any, task: Any, *arguments: Any, **named: Any) -> Any:
            events.happened(f"begin {task.__name__}")
            running: Any = begin(self, task, *arguments, **named)
            running.name = task.__name__
            return running

        def counted_result(self: Any) -> Any:
            returned = result(self)
            events.happened(f"end {self.name}")
            return returned

        def counted_fsync(descriptor: int, fsync: Any = os.fsync) -> None:
            events.happened("fsync")
            fsync(descriptor)

        os.fsync = counted_fsync  # type: ignore[assignment]
        streams.HashingFile.write = counted_write  # type: ignore[method-assign]
        Worker.begin = counted_begin  # type: ignore[method-assign]
        RunningTask.result = counted_result  # type: ignore[method-assign,method-assign]
