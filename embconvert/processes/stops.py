"""Timing work in a process that may be stopped meanwhile: by Ctrl-Z, and continued by `fg`."""

import signal
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
# Who stops a process again and again gets a figure nevertheless.
_TRIES = 3
_continued = 0


def notice_stops() -> None:
    """Lets measured() know when this process goes on after it was stopped."""
    signal.signal(signal.SIGCONT, _count)


def _count(_number: int, _frame: object) -> None:
    global _continued  # noqa: PLW0603 - a signal's handler has nowhere else to write
    _continued += 1


def measured(work: Callable[[], _Result]) -> tuple[_Result, float]:
    """Returns what work returns, and the seconds that it took.

    Clocks go on while a process is stopped, so what was stopped in the middle is done again.
    """
    for _ in range(_TRIES):
        before = _continued
        start = time.perf_counter()
        result = work()
        duration_s = time.perf_counter() - start
        if _continued == before:
            break
    return result, duration_s
