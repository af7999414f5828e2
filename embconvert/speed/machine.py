"""How much other work disturbed this process.

The load average is no measure in a container: it counts the whole host. The kernel counts for each
thread how long it was ready to run without a CPU, whoever had it: another container, or a quota
(https://docs.kernel.org/scheduler/sched-stats.html, /proc/<pid>/schedstat). What the host of a
virtual machine took is "steal" in /proc/stat.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STEAL = 7
_NS_PER_TICK = 10_000_000


@dataclass
class Disturbance:
    """Filled in when the observed block ends.

    Attributes:
        waited: Share of the time in which a thread was ready to run but had no CPU; None if the
            system does not tell.
    """

    waited: float | None = None


@contextlib.contextmanager
def observed(proc: Path = Path("/proc")) -> Iterator[Disturbance]:
    """Observes a block; `proc` is the folder of the process file system."""
    found = Disturbance()
    before = _used_and_waited(proc), _busy_and_stolen(proc)
    yield found
    after = _used_and_waited(proc), _busy_and_stolen(proc)
    shares = []
    for then, now in zip(before, after, strict=True):
        if then is not None and now is not None:
            used, lost = (b - a for a, b in zip(then, now, strict=True))
            shares.append(max(0, lost) / (used + lost) if used > 0 and used + lost > 0 else 0.0)
    found.waited = min(1.0, max(shares)) if shares else None


def _used_and_waited(proc: Path) -> tuple[int, int] | None:
    """Returns nanoseconds that all threads of this process ran, and waited for a CPU."""
    used = waited = 0
    try:
        for task in (proc / "self" / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread ended
                ran, ready, _ = map(int, (task / "schedstat").read_text().split())
                used, waited = used + ran, waited + ready
    except (OSError, ValueError):
        return None
    return (used, waited) if used else None


def _busy_and_stolen(proc: Path) -> tuple[int, int] | None:
    """Returns nanoseconds that all CPUs were busy, and that the machine's host took from them."""
    try:
        line = (proc / "stat").read_text().partition("\n")[0]
        user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1 : _STEAL + 2])
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + softirq
    return busy * _NS_PER_TICK, steal * _NS_PER_TICK
