"""What becomes of memory that this process frees; see mallopt(3), which only glibc has."""

import contextlib
import ctypes
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# What glibc raises its own threshold to at most, as larger and larger blocks are freed.
_LARGEST_THRESHOLD_BYTES = 1 << 25
_KEPT_BYTES = 1 << 28


def keep_freed() -> None:
    """Keeps what is freed from now on for what is asked for next, in one heap for all threads.

    What comes from the system is zeroed first, page by page: a third of the time in which ONNX
    Runtime opens a piece of a graph. Blocks above 32 MiB still come from the system, and go back.
    A graph that is opened whole would leave holes of a sixth of its weights.
    """
    with contextlib.suppress(AttributeError, OSError):
        option = ctypes.CDLL(None).mallopt
        option(_M_ARENA_MAX, 1)
        option(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD_BYTES)
        option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextlib.contextmanager
def without_holes() -> Iterator[None]:
    """Gives back blocks of a megabyte as soon as they are freed, for a while; it takes time.

    Else what is small and stays, as the nodes of a graph being traced, comes to lie between large
    blocks that are freed soon, and the heap grows by most of them: by 0.8 GB for 24 layers of width
    1024 in three runs of four.
    """
    try:
        option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        yield
        return
    option(_M_MMAP_THRESHOLD, 1 << 20)
    try:
        yield
    finally:
        option(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD_BYTES)
        option(_M_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD_BYTES)
