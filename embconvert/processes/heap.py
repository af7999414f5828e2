"""What this process has freed goes back to the system.

glibc keeps it for later, in a heap for each thread; see mallopt(3) and malloc_trim(3). Other C
libraries have neither function.
"""

import contextlib
import ctypes

_M_ARENA_MAX = -8


def give_back_freed() -> None:
    """Gives back what was freed so far."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def share_one_heap() -> None:
    """Makes threads that start from now on take their memory from one heap."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
