"""The records of measured speeds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import MaxLen, MinLen

from embconvert.models.constraints import Distance, Positive, Rate, Record, RelativePath, Share
from embconvert.models.shapes import CONVERSION_SHAPES, Shape
from embconvert.overriding import override

# Above this share of the time, a machine is called busy.
_BUSY = 0.05
# Speeds that differ by less are called equal.
_TOLERANCE = 0.1


class Verdict(StrEnum):
    """What a measured ratio of speeds tells in spite of noise."""

    FASTER = "faster"
    SLOWER = "slower"
    AS_FAST = "as fast"
    UNKNOWN = "not measurable"


#: What the last of them means, for people.
UNMEASURABLE = f'"not measurable": the machine\'s noise may hide a difference of {_TOLERANCE:.0%}'


@dataclass(frozen=True, kw_only=True)
class Speedup(Record):
    """How many times as fast a graph is as another, both timed in turns.

    Attributes:
        times: Median of the ratios of two successive measurements.
        spread: Distance from the median to the farther end of its interval, which covers at least
            90% (fewer than five rounds: all ratios).
        verdict: Of these two, by against().
    """

    times: Rate
    spread: Distance
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        found = self.against(1.0)
        if self.verdict not in (None, found):
            raise ValueError(f"the verdict on {self.figures} is not {self.verdict!r}")
        object.__setattr__(self, "verdict", found)

    def against(self, limit: float) -> Verdict:
        """Compares it with a number of times: equal if it is within 10% of it for certain."""
        low, high = self.times - self.spread, self.times + self.spread
        if low > limit:
            return Verdict.FASTER
        if high < limit:
            return Verdict.SLOWER
        is_near = limit / (1 + _TOLERANCE) <= low and high <= limit * (1 + _TOLERANCE)
        return Verdict.AS_FAST if is_near else Verdict.UNKNOWN

    def may_reach(self, other: "Speedup") -> bool:
        """Whether it is not slower than another of the same base by more than noise."""
        return self.times + self.spread >= other.times - other.spread

    @property
    def is_measurable(self) -> bool:
        """Whether the ratio exceeds the noise of the measurement."""
        return self.verdict is not Verdict.UNKNOWN

    @property
    def figures(self) -> str:
        """Its figures, whether they tell something or not."""
        return f"{self.times:.2f}x ± {self.spread:.2f}"

    @override
    def __str__(self) -> str:
        return self.figures if self.is_measurable else Verdict.UNKNOWN.value


@dataclass(frozen=True, kw_only=True)
class ShapeSpeed(Record):
    """The speed of a graph on batches of one shape.

    Attributes:
        texts_per_second: Of the median time.
        speedup: Relative to the exported float32 graph; None for that graph, and without it.
    """

    shape: Shape
    texts_per_second: Rate
    speedup: Speedup | None

    @property
    def tokens_per_second(self) -> float:
        return self.texts_per_second * self.shape.tokens


@dataclass(frozen=True, kw_only=True)
class GraphSpeed(Record):
    """The speed of a graph.

    Attributes:
        path: Relative to the folder.
        shapes: By shape of the batch, shortest texts first.
        speedup: Relative to the exported float32 graph, over all shapes (geometric mean); None for
            that graph, and without it.
    """

    path: RelativePath
    shapes: Annotated[tuple[ShapeSpeed, ...], MinLen(1), MaxLen(100)]
    speedup: Speedup | None

    @property
    def rates(self) -> str:
        """Texts per second by CONVERSION_LENGTHS, such as `190/63/-`."""
        found = {speed.shape: f"{speed.texts_per_second:.0f}" for speed in self.shapes}
        return "/".join(found.get(shape, "-") for shape in CONVERSION_SHAPES)


@dataclass(frozen=True, kw_only=True)
class SpeedsRecord(Record):
    """The speeds of a folder's graphs, all measured in turns by one run.

    Attributes:
        threads: Of ONNX Runtime.
        waited: Share of the time in which a thread was ready to run but had no CPU, because others
            used it; None if the system does not tell.
        graphs: In the order of the manifest; some may be missing.
    """

    threads: Positive
    waited: Share | None
    graphs: Annotated[tuple[GraphSpeed, ...], MaxLen(1000)]

    @property
    def busy_words(self) -> str | None:
        """A warning if other work disturbed the measurement."""
        return busy_words(self.waited)

    @property
    def unmeasurable_words(self) -> str | None:
        """Which speeds noise hides, and what to do; None if it hides none."""
        hidden = [g.path for g in self.graphs if g.speedup and not g.speedup.is_measurable]
        if not hidden:
            return None
        return (
            f"the speed of {', '.join(hidden)} relative to float32 is not measurable on this "
            "machine now; run embconvert bench on the folder when nothing else runs"
        )

    def of(self, path: str) -> GraphSpeed | None:
        """Returns the speed of a graph, None if it was not measured."""
        return next((graph for graph in self.graphs if graph.path == path), None)


def busy_words(waited: float | None) -> str | None:
    """Returns a warning if other work disturbed a measurement; `waited` as in SpeedsRecord."""
    if waited is None or waited <= _BUSY:
        return None
    return (
        "the machine was busy while speeds were measured: for "
        f"{waited:.0%} of the time, other work had the CPU"
    )
