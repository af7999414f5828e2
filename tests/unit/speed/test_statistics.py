"""Medians of repeated measurements, and how far to trust them."""

import random
from statistics import median

import pytest

from embconvert.speed.records import Speedup
from embconvert.speed.statistics import joint, median_interval, percentile, speedup


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 0, 0), (3, 0, 2), (5, 0, 4), (7, 0, 6), (8, 1, 6), (11, 2, 8), (20, 5, 14)],
)
def test_the_interval_of_a_median_leaves_out_what_coins_hardly_throw(
    count: int, low: int, high: int
) -> None:
    values = [float(n) for n in range(count)]
    random.Random(0).shuffle(values)
    assert median_interval(values) == (low, high)


def test_the_interval_covers_the_true_median_nine_times_of_ten() -> None:
    source = random.Random(1)
    for count in (5, 8, 15):
        inside = 0
        for _ in range(2000):
            low, high = median_interval([source.lognormvariate(0, 1) for _ in range(count)])
            inside += low <= 1 <= high
        assert inside / 2000 > 0.89


def test_a_speedup_compares_what_was_measured_in_the_same_round() -> None:
    drift = [1.0, 2.0, 3.0, 4.0, 5.0]  # the machine gets slower and slower
    found = speedup(drift, [seconds / 2 for seconds in drift])
    assert found == Speedup(times=2.0, spread=0.0)
    assert str(found) == "2.00x ± 0.00"


def test_one_disturbed_round_moves_the_spread_and_not_the_median() -> None:
    found = speedup([1.0] * 5, [1.0, 1.0, 4.0, 1.0, 1.0])
    assert found == Speedup(times=1.0, spread=0.75)


def test_several_shapes_are_joined_by_their_geometric_mean() -> None:
    found = joint([Speedup(times=1.0, spread=0.1), Speedup(times=4.0, spread=0.4)])
    assert found.times == pytest.approx(2.0)
    assert found.spread == pytest.approx(2.0 * 0.1 * 2**0.5 / 2)
    alone = Speedup(times=1.5, spread=0.2)
    assert joint([alone]).spread == pytest.approx(alone.spread)


def test_percentiles_are_measured_values() -> None:
    values = [float(n) for n in range(1, 21)]
    assert percentile(values, 0.5) == 10
    assert percentile(values, 0.95) == 19
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([1.0, 2.0, 9.0], 0.5) == median([1.0, 2.0, 9.0])
