"""When a child process ends, other than by itself."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ends this process when its parent ends, even by kill -9; see prctl(2)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_killed_first() -> None:
    """Asks the system, should memory run out, to spare the parent, which tells what happened."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
