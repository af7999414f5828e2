"""Functions are timed in turns, within a time."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from embconvert.speed.turns import TOO_LONG, CannotRun, TimeBudget, take_turns


class Clock:
    """Functions that take a time, without waiting, and the order in which they ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def work(self, name: str, seconds: float) -> Callable[[], object]:
        def run() -> None:
            self.now += seconds
            self.ran.append(name)

        return run

    def time(self, work: Callable[[], object]) -> float:
        start = self.now
        work()
        return self.now - start

    def works(self, seconds: Mapping[str, float]) -> dict[str, Callable[[], object]]:
        return {name: self.work(name, took) for name, took in seconds.items()}


def budget(
    seconds: float, *, limit: float | None = None, fewest: int = 3, most: int = 9
) -> TimeBudget:
    return TimeBudget(seconds=seconds, limit=limit or seconds, fewest=fewest, most=most)


def test_each_round_runs_all_and_every_second_one_backwards() -> None:
    clock = Clock()
    (times,) = take_turns([clock.works({"a": 1, "b": 2, "c": 3})], budget(30), clock.time)
    assert times == {"a": [1.0] * 4, "b": [2.0] * 4, "c": [3.0] * 4}
    # The first round allocates memory and is not counted.
    assert "".join(clock.ran) == "abc" + "abccba" * 2


def test_what_drifts_is_the_same_for_all() -> None:
    clock = Clock()

    def slowing() -> object:
        clock.now += 1 + clock.now / 100
        return None

    (times,) = take_turns([{"a": slowing, "b": slowing}], budget(1e9, most=9), clock.time)
    assert isinstance(times, dict)
    ratios = [b / a for a, b in zip(times["a"], times["b"], strict=True)]
    assert min(ratios) < 1 < max(ratios)


def test_more_rounds_are_run_while_time_is_left_up_to_the_most() -> None:
    clock = Clock()
    groups = [clock.works({"short": 1.0}), clock.works({"long": 10.0})]
    short, long = take_turns(groups, budget(100, most=20), clock.time)
    assert isinstance(short, dict)
    assert isinstance(long, dict)
    assert len(short["short"]) == 20
    # It gets what the other left.
    assert 5 <= len(long["long"]) <= 8
    assert clock.now <= 100


def test_what_would_take_too_long_is_left_out_but_never_the_first() -> None:
    clock = Clock()
    groups = [clock.works({"a": 9.0}), clock.works({"b": 100.0}), clock.works({"c": 1.0})]
    first, second, third = take_turns(groups, budget(5, limit=200), clock.time)
    assert isinstance(first, dict)
    assert len(first["a"]) == 3
    assert second == TOO_LONG
    assert isinstance(third, dict)
    assert len(third["c"]) == 3


def test_a_function_that_cannot_run_leaves_its_group_out_with_the_reason() -> None:
    clock = Clock()

    def broken() -> object:
        raise CannotRun("no such position")

    groups = [clock.works({"a": 1.0}), {"b": broken}, clock.works({"c": 1.0})]
    first, second, third = take_turns(groups, budget(100), clock.time)
    assert second == "no such position"
    assert isinstance(first, dict)
    assert isinstance(third, dict)


@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 1e-3])
def test_a_short_run_is_repeated_so_that_it_is_not_the_clock_that_is_timed(seconds: float) -> None:
    clock = Clock()
    (times,) = take_turns([clock.works({"a": seconds})], budget(0.01), clock.time)
    assert isinstance(times, dict)
    assert times["a"] == pytest.approx([seconds] * len(times["a"]))
    runs = Counter(clock.ran)["a"] - 1
    assert runs / len(times["a"]) == min(1000, round(0.002 / seconds))


def test_progress_is_told_by_group() -> None:
    clock = Clock()
    told: list[float] = []
    groups = [clock.works({"a": 1.0})] * 4
    take_turns(groups, budget(100), clock.time, told.append)
    assert math.fsum(told) == pytest.approx(1.0)
    assert len(told) == 4
