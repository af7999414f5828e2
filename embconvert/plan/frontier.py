"""The results of a search's candidates: which are better than which, as a record and a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import SearchRecord, TriedRecord
from embconvert.models.kinds import Measure
from embconvert.plan.budget import Budget, DataLoss
from embconvert.speed.records import Speedup
from embconvert.tables import Column


def frontier_header(measure: Measure) -> tuple[Column, ...]:
    return (
        Column(title="candidate", is_sentence=True),
        Column(title="size"),
        Column(title="of float32", rank=1),
        Column(title=f"mean {measure}"),
        Column(title=f"min {measure}", rank=2),
        Column(title="speed", rank=3),
        Column(title="outcome", is_sentence=True),
    )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate with its result, or with the reason why it was not tried.

    Attributes:
        name: Its precision, with recipes that differ from the default.
        size_bytes: None if it was not made.
        fidelity: None if it was not made.
        speedup: Relative to the exported float32 graph; None if not measured.
        outcome: Why it was rejected; None for the published one.
        loss: On the user's data; None if not evaluated.
    """

    name: str
    size_bytes: int | None = None
    fidelity: Fidelity | None = None
    speedup: Speedup | None = None
    outcome: str | None = None
    loss: DataLoss | None = None

    @property
    def is_made(self) -> bool:
        return self._figures() is not None

    def dominates(self, other: "Candidate") -> bool:
        """Whether it is at least as small, accurate and fast as another, and better in one.

        Speeds differ only by more than noise; one that is not measurable is not compared.
        """
        ours, theirs = self._figures(), other._figures()
        if ours is None or theirs is None or any(a < b for a, b in zip(ours, theirs, strict=True)):
            return False
        fast, slow = self.speedup, other.speedup
        if fast is None or slow is None:
            return fast is slow and ours != theirs
        if not (fast.is_measurable and slow.is_measurable and fast.may_reach(slow)):
            return False
        return ours != theirs or not slow.may_reach(fast)

    def _figures(self) -> tuple[float, float] | None:
        """Returns figures for which larger is better; None if it was not made."""
        if self.size_bytes is None or self.fidelity is None:
            return None
        return -self.size_bytes, self.fidelity.similarity.mean


def search_record(budget: Budget, candidates: Sequence[Candidate]) -> SearchRecord:
    return SearchRecord(
        budget=str(budget),
        candidates=tuple(
            TriedRecord(
                name=candidate.name,
                size_bytes=candidate.size_bytes,
                similarity=candidate.fidelity.similarity if candidate.fidelity else None,
                speedup=candidate.speedup,
                outcome=candidate.outcome,
                loss_points=None if candidate.loss is None else candidate.loss.points,
                on_frontier=candidate.is_made
                and not any(c.dominates(candidate) for c in candidates),
            )
            for candidate in candidates
        ),
    )


def frontier_rows(candidates: Sequence[Candidate], float32_bytes: int) -> list[list[str]]:
    """Returns the rows of the table of candidates."""
    rows = []
    for candidate in candidates:
        size, figures = candidate.size_bytes, candidate.fidelity
        outcome = candidate.outcome or "published"
        if candidate.outcome is None and candidate.loss is not None:
            outcome += f": {candidate.loss}"
        for other in candidates:
            if other.dominates(candidate):
                outcome += f"; dominated by {other.name}"
        row = [candidate.name]
        row += (
            ["-", "-"] if size is None else [f"{size / 1e6:.1f} MB", f"{size / float32_bytes:.0%}"]
        )
        if figures is None:
            row += ["-", "-", "-"]
        else:
            speed = str(candidate.speedup or "-")
            near = figures.similarity
            row += [f"{near.mean:.5f}", f"{near.min:.5f}", speed]
        rows.append([*row, outcome])
    return rows
