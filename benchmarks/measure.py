"""Time and memory of a command with all its processes; Linux only.

This module is imported by a process that must stay small: Linux counts what a process had resident
when it forked as the child's peak, so nothing here may import a large library.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import struct_rusage

from pipelines import Step

_PR_SET_CHILD_SUBREAPER = 36
_SAMPLE_EVERY_S = 0.02
#: Nothing here may wait for the network.
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Figures:
    """What a command, or several one after another, cost.

    Attributes:
        wall_s: Until its first process ended.
        cpu_s: User and system time of all its processes.
        process_bytes: Most resident memory of the largest of its processes.
        tree_bytes: Most memory of all its processes at once, shared pages counted once; None
            where it was not sampled.
        others_cpu_s: CPU time of all other processes during the run.
    """

    wall_s: float
    cpu_s: float
    process_bytes: int
    tree_bytes: int | None
    others_cpu_s: float


class StepFailed(Exception):  # noqa: N818 - named as what happened
    """A command ended with an error; the message has the end of its output."""


def total(figures: Sequence[Figures]) -> Figures:
    """Returns the cost of steps one after another: times summed, memory of the largest."""
    trees = [f.tree_bytes for f in figures if f.tree_bytes is not None]
    return Figures(
        wall_s=sum(f.wall_s for f in figures),
        cpu_s=sum(f.cpu_s for f in figures),
        process_bytes=max(f.process_bytes for f in figures),
        tree_bytes=max(trees) if len(trees) == len(figures) else None,
        others_cpu_s=sum(f.others_cpu_s for f in figures),
    )


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans, so that it can count them too."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(step: Step, log: Path, *, sample: bool) -> Figures:
    """Runs a command.

    Args:
        step: The command.
        log: Gets what it prints.
        sample: Whether to sample the memory of all processes, which takes CPU time.

    Returns:
        Its cost.

    Raises:
        StepFailed: It ended with an error.
    """
    environment = os.environ | OFFLINE
    with log.open("wb") as output, _sampled_tree(sample) as peaks:
        busy, start = _machine_cpu_s(), time.perf_counter()
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *_reaped_orphans()]
        busy = _machine_cpu_s() - busy
    if process.returncode:
        end = log.read_text(errors="replace")[-2000:]
        raise StepFailed(f"{' '.join(step.command)}\nexit code {process.returncode}\n{end}")
    cpu = sum(u.ru_utime + u.ru_stime for u in usages)
    return Figures(
        wall_s=wall,
        cpu_s=cpu,
        process_bytes=max(u.ru_maxrss for u in usages) * 1024,
        tree_bytes=max(peaks) if sample else None,
        # The kernel counts the machine in hundredths of a second, which can come out below zero.
        others_cpu_s=max(0.0, busy - cpu),
    )


def _reaped_orphans() -> Iterator[struct_rusage]:
    """Waits for what a command left behind, as multiprocessing does its resource tracker."""
    with contextlib.suppress(ChildProcessError):
        while True:
            yield os.wait4(-1, 0)[2]


def _machine_cpu_s() -> float:
    """Returns the CPU time of every process and of other guests since the machine started."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _sampled_tree(enabled: bool) -> Iterator[list[int]]:
    """Yields a list that gets the memory of all descendants, again and again."""
    peaks = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_EVERY_S):
            peaks.append(sum(map(_memory_bytes, _descendants(os.getpid()))))

    thread = threading.Thread(target=sample)
    if enabled:
        thread.start()
    try:
        yield peaks
    finally:
        done.set()
        if enabled:
            thread.join()


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the state and the parent follow it.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def _memory_bytes(pid: int) -> int:
    """Returns the memory of a process, its share of what it has in common with others."""
    # A process may end between being listed and being read.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
