"""When the jobs of a run were done, and what they cost; `--debug` prints it."""

import time
from dataclasses import dataclass

from embconvert.console import Console
from embconvert.plan.jobs import Job
from embconvert.tables import Column

_TITLES = ("job", "started at", "took", "processor time")


@dataclass
class _Spent:
    """In seconds; those of a repeated job include its earlier attempts."""

    words: str
    start: float
    end: float
    cpu: float = 0.0


class JobTimes:
    """The times of jobs, in the order of their starts."""

    def __init__(self) -> None:
        self._times: dict[str, _Spent] = {}

    def start(self, job: Job) -> None:
        now = time.monotonic()
        self._times.setdefault(job.name, _Spent(job.words, now, now))

    def add(self, job: Job, cpu_s: float) -> None:
        """Notes that a task ended, which took `cpu_s` seconds of CPU time in all threads."""
        times = self._times[job.name]
        times.end, times.cpu = time.monotonic(), times.cpu + cpu_s

    def show(self, console: Console) -> None:
        """Prints a table."""
        begin = min((times.start for times in self._times.values()), default=0.0)
        rows = [
            (
                times.words,
                f"{times.start - begin:.1f} s",
                f"{times.end - times.start:.1f} s",
                f"{times.cpu:.1f} s",
            )
            for times in self._times.values()
            if times.cpu
        ]
        console.table("times of the jobs", [Column(title=title) for title in _TITLES], rows)
