"""What the file that `--quantize auto` chooses must meet."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from embconvert.evaluation.intervals import points_text
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor, floor_for, shortfall
from embconvert.models.choices import MaxSize, Precision
from embconvert.models.kinds import Measure
from embconvert.overriding import override
from embconvert.speed.records import Speedup, Verdict

#: The floors without --min_cosine.
DEFAULT_FLOORS: Mapping[Measure, Floor] = MappingProxyType(
    {
        Measure.COSINE: Floor(mean_cosine=0.995, min_cosine=0.9),
        Measure.AGREEMENT: Floor(mean_cosine=0.99, min_cosine=0.8, rank_correlation=0.98),
    }
)
# A file is never smaller than this share of its estimated size.
_LEAST_OF_EXPECTED = 0.8


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the chosen file must meet.

    Attributes:
        max_size: None means no limit.
        min_speedup: Relative to the exported float32 graph; None means no limit.
        min_neighbours: Share that replaces the precisions' floors of the ranking; None keeps them.
        measure: Of the floor.
        is_bits: Whether embeddings have one bit per dimension.
        max_loss: Points of the main figure on the user's data; None means no limit.
        data: The name of that data.
        data_digest: Its content.
    """

    floor: Floor
    max_size: MaxSize | None = None
    min_speedup: float | None = None
    min_neighbours: float | None = None
    measure: Measure = Measure.COSINE
    is_bits: bool = False
    max_loss: float | None = None
    data: str | None = None
    data_digest: str | None = None

    @override
    def __str__(self) -> str:
        parts = [f"mean {self.measure} at least {self.floor.mean_cosine:.10g}"]
        if self.max_size is not None:
            parts.append(f"at most {self.max_size.text}")
        if self.min_neighbours is not None:
            parts.append(f"at least {self.min_neighbours:.1%} of the nearest neighbours kept")
        if self.max_loss is not None:
            parts.append(f"at most {self.max_loss:g} points lost on {self.data}")
        if self.min_speedup is not None:
            parts.append(f"at least {self.min_speedup:g} times as fast as float32")
        return ", ".join(parts)

    def as_text(self) -> str:
        """Returns the budget as JSON, to compare budgets."""
        values = asdict(self) | {"floor": self.floor.as_json()}
        return json.dumps(values, sort_keys=True, allow_nan=False)

    def cannot_fit(self, expected_bytes: int, float32_bytes: int) -> bool:
        """Whether a file of this estimated size is certainly too large."""
        if self.max_size is None:
            return False
        return _LEAST_OF_EXPECTED * expected_bytes > self.max_size.in_bytes(float32_bytes)

    def floors(self, precision: Precision) -> tuple[Floor, ...]:
        """Returns the floors of the cosines and of the ranking."""
        ranking = floor_for(
            precision, 0.0, self.measure, min_neighbours=self.min_neighbours, is_bits=self.is_bits
        )
        return self.floor, ranking

    def violation(
        self,
        size_bytes: int,
        fidelity: Fidelity,
        speedup: Speedup | None,
        float32_bytes: int,
        precision: Precision,
    ) -> str | None:
        """Returns the violated limit in words, or None."""
        most = None if self.max_size is None else self.max_size.in_bytes(float32_bytes)
        if most is not None and size_bytes > most:
            return f"larger than {most / 1e6:.1f} MB"
        for floor in self.floors(precision):
            problem = shortfall(fidelity, floor)
            if problem is not None:
                return problem
        if self.min_speedup is not None and speedup is None:
            return "its speed was not compared with float32's"
        if self.min_speedup is not None and speedup is not None:
            verdict = speedup.against(self.min_speedup)
            if verdict is Verdict.UNKNOWN:
                return (
                    f"not known to be {self.min_speedup:g} times as fast: its speed is not "
                    f"measurable on this machine ({speedup.figures})"
                )
            if verdict is not Verdict.FASTER and speedup.times < self.min_speedup:
                return f"{speedup.times:.2f} times as fast, not {self.min_speedup:g}"
        return None

    def excess(self, loss: "DataLoss") -> str | None:
        """Returns a loss that is too large in words, or None."""
        if self.max_loss is None or loss.points <= self.max_loss:
            return None
        return f"{loss}, not at most {self.max_loss:g}"


@dataclass(frozen=True, kw_only=True)
class DataLoss:
    """How much lower a figure, such as nDCG@10, is on the user's data, in points (hundredths)."""

    figure: str
    points: float
    verdict: str

    @override
    def __str__(self) -> str:
        return f"{points_text(self.points)} points of {self.figure} lost ({self.verdict})"
