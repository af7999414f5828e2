"""Whether a loss is more than chance: paired bootstrap intervals and their words."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.evaluation.figures import Figure

#: Of the interval.
CONFIDENCE = 0.95
_SEED = 20
_RESAMPLES, _FEWEST_RESAMPLES = 1000, 100
# How many values all resamples of a figure have, so that large data takes seconds.
_VALUES = 20_000_000
#: With fewer queries, pairs or triples no interval is right.
FEWEST_UNITS = 20


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How much lower a figure is than the baseline's, in points: hundredths of the figure.

    Attributes:
        low: Lower end of the 95% interval.
    """

    points: float
    low: float
    high: float
    verdict: str


def loss_of(figure: Figure, baseline: Figure) -> Loss:
    """Compares a figure with the baseline's, over the same units.

    The interval is scipy's percentile bootstrap of the units, the same for both; it is
    reproducible.
    """
    points = 100 * (baseline.value - figure.value)
    if all(np.array_equal(a, b) for a, b in zip(figure.samples, baseline.samples, strict=True)):
        return Loss(points=0.0, low=0.0, high=0.0, verdict="the same")
    low, high = _interval(figure, baseline)
    return Loss(points=points, low=low, high=high, verdict=_verdict(points, low, high, figure))


def points_text(points: float) -> str:
    """Returns points with two digits; what rounds to 0 has no sign."""
    return f"{round(points, 2) + 0.0:.2f}"


def _interval(figure: Figure, baseline: Figure) -> tuple[float, float]:
    from scipy.stats import bootstrap

    units = figure.units
    resamples = int(np.clip(_VALUES // units, _FEWEST_RESAMPLES, _RESAMPLES))
    settings: dict[str, Any] = {
        "n_resamples": resamples,
        "confidence_level": CONFIDENCE,
        "method": "percentile",
        "rng": np.random.default_rng(_SEED),
        "batch": max(1, _VALUES // 20 // units),
    }
    if units < 2:
        points = 100 * (baseline.value - figure.value)
        return points, points
    if figure.statistic is None:
        losses = 100 * (baseline.samples[0] - figure.samples[0])
        found = bootstrap((losses,), np.mean, vectorized=True, **settings)
    else:
        ours, theirs, statistic = figure.samples, baseline.samples, figure.statistic

        def loss(chosen: Any) -> float:
            return 100 * (
                statistic(*(s[chosen] for s in theirs)) - statistic(*(s[chosen] for s in ours))
            )

        found = bootstrap((np.arange(units),), loss, vectorized=False, **settings)
    interval = found.confidence_interval
    return float(interval.low), float(interval.high)


def _verdict(points: float, low: float, high: float, figure: Figure) -> str:
    if figure.units < FEWEST_UNITS:
        return f"too few to tell ({figure.units})"
    if low <= 0 <= high:
        return "within noise"
    digits = 1 if abs(points) >= 0.1 else 2
    # Many units tell differences that are smaller than a figure's digits.
    size = f"{abs(points):.{digits}f}" if abs(points) >= 0.01 else "less than 0.01"
    return f"{size} points {'lower' if points > 0 else 'higher'}"
