"""Workers that are forked from a process with the libraries behave like those started anew."""

import signal
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.time_limits import TimeLimit
from embconvert.processes.worker import wait_for_any
from support.workers import Start, die, fail, is_alive, meet, pids, remember, wait


def test_a_worker_keeps_what_it_did_and_shares_it_with_no_other(
    start_worker: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = start_worker(), start_worker()
    advances: list[int] = []
    assert one.call(remember, "a", advance=advances.append) == ["a"]
    assert one.call(remember, "b") == ["a", "b"]
    assert other.call(remember, "c") == ["c"]
    assert advances == [1]
    assert "warning: remembering c" in capsys.readouterr().err


def test_an_error_reaches_the_caller_and_the_worker_goes_on(start_worker: Start) -> None:
    worker = start_worker()
    with pytest.raises(SourceError, match="gone"):
        worker.call(fail)
    assert worker.call(remember, "a") == ["a"]


def test_a_task_that_takes_too_long_is_ended(start_worker: Start) -> None:
    worker = start_worker()
    (pid, _) = worker.call(pids)
    limit = TimeLimit(seconds=0.5, error=SourceError("it takes forever", "do not wait"))
    with pytest.raises(SourceError, match="it takes forever"):
        worker.call(wait, 600, within=limit)
    assert not is_alive(pid)


def test_a_task_that_ends_in_time_is_not_ended(start_worker: Start) -> None:
    limit = TimeLimit(seconds=60, error=SourceError("it takes forever", "do not wait"))
    assert start_worker().call(remember, "one", within=limit) == ["one"]


def test_two_work_at_a_time(start_worker: Start, tmp_path: Path) -> None:
    one, other = start_worker(), start_worker()
    tasks = [
        one.begin(meet, tmp_path / "one", tmp_path / "other"),
        other.begin(meet, tmp_path / "other", tmp_path / "one"),
    ]
    while not all(task.is_finished for task in tasks):
        wait_for_any([task for task in tasks if not task.is_finished])
    for task in tasks:
        task.result()  # raises what one of them raised, should they not have met


@pytest.mark.parametrize(("number", "memory"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_crash_is_told_for_what_it_is(number: int, memory: bool, start_worker: Start) -> None:
    worker, other = start_worker(), start_worker()
    with pytest.raises(WorkerCrashed) as crash:
        worker.call(die, number)
    assert crash.value.out_of_memory is memory
    assert other.call(remember, "a") == ["a"]


def test_killing_ends_it_and_again_is_no_error(start_worker: Start) -> None:
    worker = start_worker()
    pid, _ = worker.call(pids)
    worker.kill()
    worker.kill()
    assert not is_alive(pid)
