"""Times several functions in turns, so that what changes over time is the same for all."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
#: Returns the seconds that a function took.
Timer = Callable[[Callable[[], object]], float]

# A measurement repeats a faster function, so that it is not one of the clock.
_SHORTEST_S = 0.002
_MOST_REPEATS = 1000


TOO_LONG = "it would take too long"


class CannotRun(Exception):  # noqa: N818 - not an error of the measurement
    """Raised by a function that does not work; the message says why."""


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """How long to measure.

    Attributes:
        seconds: For everything, while each group has its fewest rounds.
        limit: The same for the fewest rounds; only the first group may exceed it.
        fewest: Rounds of each group.
    """

    seconds: float
    limit: float
    fewest: int
    most: int


def take_turns(
    groups: Sequence[Mapping[Key, Callable[[], object]]],
    budget: TimeBudget,
    timer: Timer,
    advance: Callable[[float], None] = lambda _: None,
) -> list[dict[Key, list[float]] | str]:
    """Times the functions of each group in turns, round by round.

    Every second round goes in the other direction, so that no function always follows the same one.
    The groups, cheapest first, each get an equal share of the seconds that are left. `advance` gets
    the share of work since the last call.

    Returns:
        For each group the seconds of each function by round, or why it was not timed: a function
        cannot run, or its fewest rounds would exceed the limit.
    """
    spent = 0.0
    results: list[dict[Key, list[float]] | str] = []
    for number, group in enumerate(groups):
        parts = len(groups) - number
        share = (budget.seconds - spent) / parts
        limit = (budget.limit - spent) / parts if number else math.inf
        found, took = _group(group, budget, share, limit, timer)
        spent += took
        results.append(found)
        advance(1 / len(groups))
    return results


def _group(
    group: Mapping[Key, Callable[[], object]],
    budget: TimeBudget,
    seconds: float,
    limit: float,
    timer: Timer,
) -> tuple[dict[Key, list[float]] | str, float]:
    """Times a group; also returns the seconds that it took."""
    # The first run allocates memory, so it counts only as an upper bound.
    try:
        first = {key: timer(work) for key, work in group.items()}
    except CannotRun as error:
        return str(error), 0.0
    spent = sum(first.values())
    if spent * budget.fewest > limit:
        return TOO_LONG, spent
    repeats = {key: _repeats(took) for key, took in first.items()}
    times: dict[Key, list[float]] = {key: [] for key in group}
    for number in range(budget.most):
        if number >= budget.fewest and spent + spent / (number + 1) > seconds:
            break
        for key in list(group)[:: -1 if number % 2 else 1]:
            took = timer(lambda key=key: _repeat(group[key], repeats[key]))  # type: ignore[misc]
            times[key].append(took / repeats[key])
            spent += took
    return times, spent


def _repeats(seconds: float) -> int:
    return max(1, min(_MOST_REPEATS, round(_SHORTEST_S / max(seconds, 1e-9))))


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()
