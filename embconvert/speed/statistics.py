"""Medians of repeated measurements, and how far to trust them."""

import math
from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from embconvert.speed.records import Speedup

# Probability with which the interval of a median covers it.
_COVERAGE = 0.9


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the narrowest interval, between two of the values, that covers their true median.

    It holds for any distribution: of the values, those below the median are as many as heads of
    coins. Fewer than five cannot reach 90%: their interval is the whole range.
    """
    ordered, count = sorted(values), len(values)
    tails = accumulate(math.comb(count, below) / 2**count for below in range((count + 1) // 2))
    cut = max(0, sum(2 * tail <= 1 - _COVERAGE for tail in tails) - 1)
    return ordered[cut], ordered[count - 1 - cut]


def speedup(base: Sequence[float], ours: Sequence[float]) -> Speedup:
    """Compares two graphs that were timed in turns, by their seconds in each round."""
    ratios = [theirs / own for theirs, own in zip(base, ours, strict=True)]
    times = median(ratios)
    low, high = median_interval(ratios)
    return Speedup(times=times, spread=max(high - times, times - low))


def joint(speedups: Sequence[Speedup]) -> Speedup:
    """Returns the geometric mean of independent measurements."""
    count = len(speedups)
    times = math.prod(s.times for s in speedups) ** (1 / count)
    relative = math.hypot(*(s.spread / s.times for s in speedups)) / count
    return Speedup(times=times, spread=times * relative)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
