"""What runs in a child process: its main loop, which serves the tasks that the parent sends."""

import contextlib
import gc
import os
import pickle
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from embconvert.console import Console, clean_stderr
from embconvert.errors import EmbconvertError
from embconvert.processes.copies import copy_process
from embconvert.processes.lifetime import be_killed_first, die_with
from embconvert.processes.light_imports import import_all
from embconvert.processes.limits import limit_error
from embconvert.processes.signals import leave_to_parent
from embconvert.processes.stops import notice_stops


class _PipeReporter:
    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe

    def warn(self, message: str) -> None:
        self._pipe.send(("warn", message))

    def advance(self, amount: int) -> None:
        self._pipe.send(("advance", amount))


def serve(pipe: "Connection[Any, Any]", debug: bool, parent: int, preload: Sequence[str]) -> None:
    """The child's main loop; ends the process.

    Args:
        pipe: Brings (task, arguments, named arguments); takes (kind, value): warnings and progress,
            and at last what the task returned or raised. copy_process is no task.
        debug: Let the libraries' own messages through.
        parent: Its process id.
        preload: Modules to import before the first task.
    """
    leave_to_parent()
    notice_stops()
    die_with(parent)
    be_killed_first()
    clean_stderr()
    Console(quiet=False, debug=debug)
    reporter = _PipeReporter(pipe)
    import_all(preload)
    # What was imported stays; the garbage collector need not look at it again and again, nor make
    # copies of the pages that a fork shares.
    gc.freeze()
    # Without its parent it is of no use. An orderly end would wait for children, and takes torch
    # most of a second.
    with contextlib.suppress(EOFError, OSError):
        while True:
            task, arguments, named = pipe.recv()
            if task is copy_process:
                pipe = copy_process(pipe)
                reporter = _PipeReporter(pipe)
                continue
            try:
                answer = ("return", task(reporter, *arguments, **named))
            except BaseException as error:  # noqa: BLE001 - all are the parent's to judge
                if debug:
                    traceback.print_exc()
                answer = ("raise", limit_error(error) or _portable(error))
            pipe.send(answer)
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """Returns an error that can cross to the parent: a known kind as it is, others as text."""
    if isinstance(error, EmbconvertError | OSError):
        with contextlib.suppress(Exception):
            return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]
    return RuntimeError("".join(traceback.format_exception(error)))
