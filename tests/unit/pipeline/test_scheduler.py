"""What runs beside what, what is done over, and what a failure leaves undone: real processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embconvert.console import Console
from embconvert.errors import ExportError, QuantizeError
from embconvert.pipeline.scheduler import Capacity, DoOver, NeedsFirst, Scheduler
from embconvert.plan.jobs import BASE_BYTES, Action, Job
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import Reporter, Work, Worker

CONSOLE = Console(quiet=False, debug=False)
ROOM = Capacity(jobs=2, memory_bytes=BASE_BYTES + 100)
SPAN_S = 0.3


def work(_: Reporter, seconds: float) -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def die(_: Reporter, killer: int, after: Path) -> None:
    while not after.exists():  # until it has company
        time.sleep(0.01)
    os.kill(os.getpid(), killer)


def meet(_: Reporter, mine: Path, other: Path) -> None:
    mine.touch()
    deadline = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < deadline, "it runs alone"
        time.sleep(0.01)


def meets(mine: Path, other: Path) -> Callable[[], Work[None]]:
    def meeting() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(meet, mine, other)

    return meeting


def job(name: str, *needs: str, **changes: object) -> Job:
    values: dict[str, object] = {"action": Action.OPTIMIZE, "memory_bytes": 10} | changes
    return Job(name=name, needs=needs, **values)  # type: ignore[arg-type]


@dataclass
class Performer:
    """Does each job in a process of its own, and notes from when to when.

    Attributes:
        works: What jobs do instead of waiting a moment.
        ran: The jobs that were done, each time.
        times: When each was done last.
        ended: The shared processes that were ended.
    """

    works: dict[str, Callable[[], Work[None]]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    times: dict[str, tuple[float, float]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def perform(self, job: Job) -> Work[None]:
        if job.name in self.works:
            yield from self.works[job.name]()
        else:
            with Worker(CONSOLE) as worker:
                self.times[job.name] = yield worker.begin(work, SPAN_S)
        self.ran.append(job.name)

    def end_process(self, name: str) -> None:
        self.ended.append(name)

    def at_once(self, one: str, other: str) -> bool:
        (a, b), (c, d) = self.times[one], self.times[other]
        return a < d and c < b


@pytest.fixture
def performer() -> Iterator[Performer]:
    yield Performer()


def run(performer: Performer, *jobs: Job, capacity: Capacity = ROOM) -> list[str]:
    """Runs jobs; returns the messages of those that failed."""
    scheduler = Scheduler(capacity, performer, CONSOLE, (QuantizeError,))
    return [error.message for error in scheduler.run(jobs)]


def fails(error: Exception) -> Callable[[], Work[None]]:
    def failing() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        raise error

    return failing


def lasts(seconds: float) -> Callable[[], Work[None]]:
    def lasting() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, seconds)

    return lasting


def test_jobs_run_beside_each_other_where_nothing_forbids(
    performer: Performer, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    performer.works |= {"a": meets(a, b), "b": meets(b, a)}
    run(performer, job("a"), job("b"))
    assert set(performer.ran) == {"a", "b"}


def test_a_job_waits_for_what_it_needs(performer: Performer) -> None:
    run(performer, job("a"), job("b", "a"))
    assert performer.ran == ["a", "b"]
    assert not performer.at_once("a", "b")


def test_nothing_runs_beside_a_job_that_is_timed(performer: Performer, tmp_path: Path) -> None:
    def first() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        (tmp_path / "a").touch()

    def second() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(meet, tmp_path / "b", tmp_path / "a")
            performer.times["b"] = yield worker.begin(work, SPAN_S)

    performer.works |= {"a": first, "b": second}
    run(performer, job("a"), job("b"), job("timed", "a", exclusive=True), job("c"))
    # It waits for what is running, and is not put off for what stands behind it.
    assert performer.ran == ["a", "b", "timed", "c"]
    assert not [name for name in ("b", "c") if performer.at_once("timed", name)]


@pytest.mark.parametrize(
    "capacity",
    [Capacity(jobs=1, memory_bytes=10**12), Capacity(jobs=2, memory_bytes=BASE_BYTES + 15)],
)
def test_one_at_a_time_where_there_is_no_room_for_two(
    capacity: Capacity, performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    run(performer, job("a"), job("b"), capacity=capacity)
    assert not performer.at_once("a", "b")
    short = capacity.memory_bytes < 10**12
    assert ("because there is little memory" in capsys.readouterr().err) is short


def test_each_stage_has_one_line_with_its_number(
    performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = job("c", "b", is_trial=True, action=Action.QUANTIZE)
    run(performer, job("a", action=Action.LOAD), job("b", "a", action=Action.REFERENCE), trial)
    assert capsys.readouterr().err.splitlines() == [
        "1/2 load the source model",
        "2/2 embed the texts with the source model",
    ]


def test_a_job_that_is_repeated_counts_again(
    performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    step = type("Step", (), {"file": "model.onnx"})()
    tries: list[str] = []

    def second() -> Work[None]:
        tries.append("b")
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        if len(tries) == 1:
            raise DoOver(step.file)

    performer.works["b"] = second
    run(performer, job("a"), job("b", "a", step=step), job("c", "b"))
    assert numbers(capsys) == ["1/3", "2/3", "3/4 again", "4/4"]


def test_the_counter_only_rises_when_a_search_needs_jobs_after_all_are_done(
    performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `--quantize auto` does where a sample of the texts does not decide."""
    reference = job("reference", "load", process="source")

    def trial() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        if reference.complete.name not in performer.ran:
            raise NeedsFirst(reference.complete)

    performer.works["trial"] = trial
    load = job("load", process="source", is_volatile=True)
    run(
        performer,
        load,
        reference,
        job("verify", "reference"),
        job("trial", "verify", is_trial=True),
    )
    assert performer.ran == [
        "load", "reference", "verify", "load", reference.complete.name, "trial",
    ]  # fmt: skip
    assert numbers(capsys) == ["1/3", "2/3", "3/3", "4/5 again", "5/5"]


def test_jobs_that_a_failed_one_takes_along_are_not_counted(
    performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    performer.works["a"] = fails(QuantizeError("no", "try again"))
    alone = Capacity(jobs=1, memory_bytes=10**12)
    run(performer, job("a"), job("b", "a"), job("c", "b"), job("d"), capacity=alone)
    assert numbers(capsys) == ["1/4", "2/2"]


def numbers(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The numbers of the jobs that were announced, and whether again."""
    said = capsys.readouterr().err.splitlines()
    return [line.partition(" ")[0] + " again" * line.endswith(" again") for line in said]


def test_a_job_may_ask_for_another_before_it_even_from_a_process_that_has_ended(
    performer: Performer,
) -> None:
    reference = job("reference", "load", process="source")
    asked: list[str] = []

    def needing(name: str) -> Callable[[], Work[None]]:
        def verify() -> Work[None]:
            with Worker(CONSOLE) as worker:
                yield worker.begin(work, 0)
            if name not in asked:
                asked.append(name)
                raise NeedsFirst(reference.complete)

        return verify

    performer.works |= {"verify a": needing("verify a"), "verify b": needing("verify b")}
    jobs = [
        job("load", process="source", is_volatile=True),
        reference,
        job("verify a", "reference"),
        job("verify b", "reference", "verify a"),
        job("c", "verify b"),
    ]
    run(performer, *jobs)
    first = reference.complete.name
    assert performer.ran == ["load", "reference", "load", first, "verify a", "verify b", "c"]
    assert performer.ended == ["source", "source"]


def test_a_job_may_ask_for_others_in_their_order(performer: Performer) -> None:
    load = job("load", process="source", is_volatile=True)
    reference = job("reference", "load", process="source")

    def kept() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        if "reference" not in performer.ran:
            raise NeedsFirst(load, reference)

    performer.works["kept"] = kept
    run(performer, job("kept"), job("verify", "kept"))
    assert performer.ran[-3:] == ["reference", "kept", "verify"] and "load" in performer.ran
    assert performer.ended == ["source"]


def test_times_of_jobs_are_printed_when_debugging(
    performer: Performer, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(quiet=False, debug=True)
    Scheduler(ROOM, performer, console, ()).run([job("a"), job("b", "a")])
    rows = [line.split() for line in capsys.readouterr().err.splitlines()]
    (a, b) = [row for row in rows if row[:1] == ["optimize"]]
    assert float(a[1]) == 0 and float(b[1]) >= float(a[3]) >= SPAN_S
    assert float(a[5]) < SPAN_S  # it sleeps


def test_a_job_that_never_fits_runs_alone(performer: Performer) -> None:
    run(performer, job("a", memory_bytes=10**12))
    assert performer.ran == ["a"]


def test_a_shared_process_does_one_job_at_a_time_and_ends_with_the_last(
    performer: Performer,
) -> None:
    jobs = [job("a", process="source"), job("b", process="source"), job("c", "b")]
    run(performer, *jobs)
    assert not performer.at_once("a", "b")
    assert performer.ended == ["source"]


def test_what_needs_a_failed_job_is_not_done_and_the_rest_is(performer: Performer) -> None:
    performer.works["a"] = fails(QuantizeError("no", "try again"))
    jobs = [job("a"), job("b", "a"), job("c", "b"), job("d")]
    assert run(performer, *jobs) == ["no"]
    assert performer.ran == ["d"]


def test_an_error_that_is_not_of_one_file_ends_the_run_and_what_is_running(
    performer: Performer,
) -> None:
    performer.works |= {"a": fails(ExportError("no", "try again")), "b": lasts(600)}
    begin = time.monotonic()
    with pytest.raises(ExportError):
        run(performer, job("a"), job("b"), job("c"))
    assert performer.ran == []
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("killer", "times"), [(signal.SIGKILL, 2), (signal.SIGSEGV, 1)], ids=["memory", "crash"]
)
def test_what_lacks_memory_beside_another_is_done_over_alone(
    killer: int,
    times: int,
    performer: Performer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tries: list[str] = []

    def big() -> Work[None]:
        tries.append("big")
        with Worker(CONSOLE) as worker:
            try:
                if len(tries) == 1:
                    yield worker.begin(die, killer, tmp_path / "small")
                performer.times["big"] = yield worker.begin(work, SPAN_S)
            except WorkerCrashed as crash:
                raise QuantizeError("big crashed", "try again") from crash

    def small() -> Work[None]:
        with Worker(CONSOLE) as worker:
            (tmp_path / "small").touch()
            performer.times["small"] = yield worker.begin(work, SPAN_S)

    performer.works |= {"big": big, "small": small}
    failures = run(performer, job("big"), job("small"), job("c"), job("d"))
    assert len(tries) == times
    if killer == signal.SIGKILL:
        assert not failures
        assert not performer.at_once("big", "small")
        assert not performer.at_once("c", "d")
        assert "repeating it alone" in capsys.readouterr().err
    else:
        assert failures == ["big crashed"]


def test_what_lacks_memory_alone_fails(performer: Performer, tmp_path: Path) -> None:
    def big() -> Work[None]:
        with Worker(CONSOLE) as worker:
            try:
                yield worker.begin(die, signal.SIGKILL, tmp_path)
            except WorkerCrashed as crash:
                raise QuantizeError("big crashed", "try again") from crash

    performer.works["big"] = big
    assert run(performer, job("big")) == ["big crashed"]


def test_a_process_that_is_killed_is_loaded_again(performer: Performer, tmp_path: Path) -> None:
    tries: list[str] = []

    def embed() -> Work[None]:
        tries.append("embed")
        with Worker(CONSOLE) as worker:
            if len(tries) == 1:
                yield worker.begin(die, signal.SIGKILL, tmp_path / "small")
            performer.times["embed"] = yield worker.begin(work, 0)

    def small() -> Work[None]:
        with Worker(CONSOLE) as worker:
            (tmp_path / "small").touch()
            performer.times["small"] = yield worker.begin(work, SPAN_S)

    performer.works |= {"embed": embed, "small": small}
    load = job("load", process="source", is_volatile=True)
    run(performer, load, job("embed", "load", process="source"), job("small", "load"))
    assert performer.ran.count("load") == 2
    assert performer.ran.count("embed") == 1
    assert performer.ended == ["source", "source"]


def test_a_file_made_by_another_method_is_made_again_with_all_that_was_made_of_it(
    performer: Performer,
) -> None:
    step = type("Step", (), {"file": "model.onnx"})()
    tries: list[str] = []

    def verify() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        tries.append("verify")
        if len(tries) == 1:
            raise DoOver("model.onnx")

    performer.works["verify"] = verify
    jobs = [
        job("load", process="source", is_volatile=True),
        job("trace", "load", process="source", is_volatile=True, step=step),
        job("write", "trace", process="source", step=step),
        job("reference", "load", process="source"),
        job("verify", "write", "reference", exclusive=True, step=step),
        job("optimize", "trace"),
        job("quantize", "verify"),
    ]
    run(performer, *jobs)
    counts = {name: performer.ran.count(name) for name in performer.ran}
    twice = {"load", "trace", "write", "optimize"}
    assert {name for name, count in counts.items() if count == 2} == twice
    assert counts["reference"] == counts["verify"] == counts["quantize"] == 1
    assert performer.ran.index("quantize") > performer.ran.index("verify")


def test_a_signal_ends_what_is_running(performer: Performer) -> None:
    def interrupt() -> Work[None]:
        with Worker(CONSOLE) as worker:
            yield worker.begin(work, 0)
        raise KeyboardInterrupt

    performer.works["a"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(performer, job("a"), job("b", process="source"))
    assert performer.ended == ["source"]
