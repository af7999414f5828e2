"""Measures the time of work in a process that may be stopped (Ctrl-Z) and continued (`fg`)."""

import signal
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
# After so many interrupted measurements the last one counts.
_TRIES = 3
_continued = 0


def notice_stops() -> None:
    """Lets measured() notice when this process was stopped and continued."""
    signal.signal(signal.SIGCONT, _count)


def _count(_number: int, _frame: object) -> None:
    global _continued  # noqa: PLW0603 - a signal's handler has nowhere else to write
    _continued += 1


def measured(work: Callable[[], _Result]) -> tuple[_Result, float]:
    """Returns the result of work and the seconds that it took.

    Clocks go on while a process is stopped, so interrupted work is repeated.
    """
    for _ in range(_TRIES):
        before = _continued
        start = time.perf_counter()
        result = work()
        duration_s = time.perf_counter() - start
        if _continued == before:
            break
    return result, duration_s
