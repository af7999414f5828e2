"""Main loop of a child process: runs the tasks that the parent sends."""

import contextlib
import gc
import os
import pickle
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from embconvert.console import Progress, show_library_messages
from embconvert.errors import EmbconvertError
from embconvert.processes.lifetime import be_killed_first, die_with
from embconvert.processes.light_imports import import_all
from embconvert.processes.limits import limit_error
from embconvert.processes.signals import leave_to_parent
from embconvert.processes.stops import notice_stops
from embconvert.processes.streams import give_up_stdout
from embconvert.stderr import clean_stderr


class _PipeReporter:
    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe
        # Downloads report from threads of their own.
        self._lock = threading.Lock()

    def warn(self, message: str) -> None:
        self._send("warn", message)

    def advance(self, amount: int) -> None:
        self._send("advance", amount)

    def tell(self, progress: Progress) -> None:
        self._send("tell", progress)

    def _send(self, kind: str, value: object) -> None:
        with self._lock:
            self._pipe.send((kind, value))


def serve(pipe: "Connection[Any, Any]", debug: bool, parent: int, preload: Sequence[str]) -> None:
    """Runs tasks until the pipe is closed, then ends the process.

    Args:
        pipe: Receives (task, arguments, named arguments). Sends (kind, value): warnings and
            progress, and finally the CPU time of the task and its result or exception.
        debug: Show the libraries' own messages.
        preload: Modules to import before the first task.
    """
    leave_to_parent()
    notice_stops()
    die_with(parent)
    be_killed_first()
    give_up_stdout(debug=debug)
    clean_stderr()
    show_library_messages(debug)
    reporter = _PipeReporter(pipe)
    import_all(preload)
    # The imports stay for good. Frozen, they are not scanned again by the garbage collector, which
    # would also copy the pages that forks share.
    gc.freeze()
    # Without the parent this process is useless. A normal exit would wait for children, and torch
    # takes most of a second to exit.
    with contextlib.suppress(EOFError, OSError):
        while True:
            task, arguments, named = pipe.recv()
            before = time.process_time()
            try:
                answer = ("return", task(reporter, *arguments, **named))
            except BaseException as error:  # noqa: BLE001 - the parent handles all of them
                if debug:
                    traceback.print_exc()
                answer = ("raise", limit_error(error) or _portable(error))
            pipe.send(("spent", time.process_time() - before))
            pipe.send(answer)
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """Returns an error that can be sent to the parent: RuntimeError for unknown kinds."""
    if isinstance(error, EmbconvertError | OSError):
        with contextlib.suppress(Exception):
            return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]
    return RuntimeError("".join(traceback.format_exception(error)))
