"""Workers that are forked from a process with the libraries behave like those started anew."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embconvert.console import Console
from embconvert.errors import SourceError
from embconvert.processes.time_limits import TimeLimit
from embconvert.processes.workers import Reporter, Worker, WorkerCrashed
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


@pytest.fixture(params=["spawned", "forked"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    console = Console(quiet=False, debug=False)
    zygote = None
    if request.param == "forked":
        zygote = Zygote(("json",), debug=False)
    workers: list[Worker] = []

    def start_one() -> Worker:
        workers.append(Worker(console, zygote=zygote))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.kill()
    if zygote is not None:
        zygote.close()


def test_a_worker_keeps_what_it_did_and_shares_it_with_no_other(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = start(), start()
    advances: list[int] = []
    assert one.call(remember, "a", advance=advances.append) == ["a"]
    assert one.call(remember, "b") == ["a", "b"]
    assert other.call(remember, "c") == ["c"]
    assert advances == [1]
    assert "warning: remembering c" in capsys.readouterr().err


def test_an_error_reaches_the_caller_and_the_worker_goes_on(start: Start) -> None:
    worker = start()
    with pytest.raises(SourceError, match="gone"):
        worker.call(fail)
    assert worker.call(remember, "a") == ["a"]


def test_a_task_that_takes_too_long_is_ended(start: Start) -> None:
    worker = start()
    (pid, _) = worker.call(pids)
    limit = TimeLimit(seconds=0.5, error=SourceError("it takes forever", "do not wait"))
    with pytest.raises(SourceError, match="it takes forever"):
        worker.call(wait, 600, within=limit)
    assert not is_alive(pid)


def test_a_task_that_ends_in_time_is_not_ended(start: Start) -> None:
    limit = TimeLimit(seconds=60, error=SourceError("it takes forever", "do not wait"))
    assert start().call(remember, "one", within=limit) == ["one"]


def test_two_work_at_a_time(start: Start, tmp_path: Path) -> None:
    one, other = start(), start()
    one.begin(meet, tmp_path / "one", tmp_path / "other")
    other.begin(meet, tmp_path / "other", tmp_path / "one")
    one.result()
    other.result()


@pytest.mark.parametrize(("number", "memory"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_crash_is_told_for_what_it_is(number: int, memory: bool, start: Start) -> None:
    worker, other = start(), start()
    with pytest.raises(WorkerCrashed) as crash:
        worker.call(die, number)
    assert crash.value.out_of_memory is memory
    assert other.call(remember, "a") == ["a"]


def test_killing_ends_it_and_again_is_no_error(start: Start) -> None:
    worker = start()
    pid, _ = worker.call(pids)
    worker.kill()
    worker.kill()
    assert not is_alive(pid)


def test_forks_end_with_what_they_were_forked_from() -> None:
    zygote = Zygote((), debug=False)
    worker = Worker(Console(quiet=False, debug=False), zygote=zygote)
    pid, parent = worker.call(pids)
    assert zygote.is_alive
    os.kill(parent, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(WorkerCrashed):
        worker.call(pids)
    assert not zygote.is_alive


def test_a_copy_has_what_its_worker_has_done_and_goes_its_own_way(start: Start) -> None:
    worker = start()
    worker.call(remember, "a")
    with worker.copy() as copy:
        assert copy.call(remember, "b") == ["a", "b"]
        assert worker.call(remember, "c") == ["a", "c"]
        pid, parent = copy.call(pids)
        assert parent == worker.call(pids)[0]
    assert not is_alive(pid)


def test_a_copy_is_ended_where_processes_have_no_handles(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with start().copy() as copy:
        pid, _ = copy.call(pids)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_copy_works_beside_its_worker(start: Start, tmp_path: Path) -> None:
    worker = start()
    with worker.copy() as copy:
        copy.begin(meet, tmp_path / "one", tmp_path / "other")
        worker.call(meet, tmp_path / "other", tmp_path / "one")
        copy.result()


def test_of_a_copy_that_crashes_its_worker_remains(start: Start) -> None:
    worker = start()
    with worker.copy() as copy:
        with pytest.raises(WorkerCrashed):
            copy.call(die, signal.SIGKILL)
        assert worker.call(remember, "a") == ["a"]


def test_a_copy_ends_with_its_worker(start: Start) -> None:
    worker = start()
    copy = worker.copy()
    pid, _ = copy.call(pids)
    worker.kill()
    with pytest.raises(WorkerCrashed):
        copy.call(pids)
    assert not is_alive(pid)
