"""What runs in a child process: its main loop, which serves the tasks that the parent sends."""

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from embconvert.console import Console
from embconvert.errors import EmbconvertError
from embconvert.processes.light_imports import import_all

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ends this process when its parent ends, even by kill -9; see prctl(2)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


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
            and at last what the task returned or raised.
        debug: Let the libraries' own messages through.
        parent: Its process id.
        preload: Modules to import before the first task.
    """
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent)
    _be_killed_first()
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
            try:
                answer = ("return", task(reporter, *arguments, **named))
            except BaseException as error:  # noqa: BLE001 - all are the parent's to judge
                if debug:
                    traceback.print_exc()
                answer = ("raise", _portable(error))
            pipe.send(answer)
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """Returns an error that can cross to the parent: a known kind as it is, others as text."""
    if isinstance(error, EmbconvertError | OSError):
        with contextlib.suppress(Exception):
            return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]
    return RuntimeError("".join(traceback.format_exception(error)))


def _be_killed_first() -> None:
    """Asks the system, should memory run out, to spare the parent, which tells what happened."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
