"""Time and peak memory of a stage."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass
class Meter:
    """Wall time and the process's peak resident memory; filled in when the metered block ends."""

    duration_s: float = 0.0
    peak_memory_bytes: int = 0

    def followed_by(self, other: "Meter") -> "Meter":
        return Meter(
            self.duration_s + other.duration_s, max(self.peak_memory_bytes, other.peak_memory_bytes)
        )


def peak_memory_bytes() -> int:
    """Returns the peak resident memory since the last reset, or since the process started."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Not Linux: kilobytes on most systems, bytes on macOS; never reset.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Measures the block; see proc(5), clear_refs, for the reset of the peak."""
    meter = Meter()
    # Where that is not allowed, the figure is the peak of the whole process, which is at least as
    # high.
    with contextlib.suppress(OSError):
        _CLEAR_REFS.write_text("5")
    start = time.perf_counter()
    try:
        yield meter
    finally:
        meter.duration_s = time.perf_counter() - start
        meter.peak_memory_bytes = peak_memory_bytes()
