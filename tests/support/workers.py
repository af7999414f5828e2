"""Workers, and tasks that they are given."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embconvert.console import Console
from embconvert.errors import SourceError
from embconvert.processes.worker import Reporter, Worker
from embconvert.processes.zygote import Zygote

_seen: list[str] = []


def remember(reporter: Reporter, word: str) -> list[str]:
    reporter.warn(f"remembering {word}")
    reporter.advance(1)
    _seen.append(word)
    return list(_seen)


def pids(_: Reporter) -> tuple[int, int]:
    return os.getpid(), os.getppid()


def die(_: Reporter, number: int) -> None:
    os.kill(os.getpid(), number)


def meet(_: Reporter, mine: Path, theirs: Path) -> None:
    mine.touch()
    deadline = time.monotonic() + 10
    while not theirs.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait(_: Reporter, seconds: float) -> None:
    time.sleep(seconds)


def fail(_: Reporter) -> None:
    raise SourceError("gone", "look")


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


Start = Callable[[], Worker]


@pytest.fixture(params=["spawned", "forked", "program"])
def start_worker(request: pytest.FixtureRequest) -> Iterator[Start]:
    console = Console(quiet=False, debug=False)
    zygote = None
    if request.param == "forked":
        zygote = Zygote(("json",), debug=False)
    workers: list[Worker] = []

    def start_one() -> Worker:
        workers.append(Worker(console, zygote=zygote, is_program=request.param == "program"))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.kill()
    if zygote is not None:
        zygote.close()
