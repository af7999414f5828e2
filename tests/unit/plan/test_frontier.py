"""Which candidates of a search are better than which."""

from dataclasses import replace

from embconvert.fidelity.figures import Fidelity
from embconvert.plan.frontier import Candidate, frontier_rows
from embconvert.speed.records import Speedup
from support.examples import fidelity

MB = 10**6


def times(factor: float | None) -> Speedup | None:
    return None if factor is None else Speedup(times=factor, spread=0.05)


def near(mean: float) -> Fidelity:
    figures = fidelity(1e-3, bin_number=3)
    return replace(figures, similarity=replace(figures.similarity, mean=mean, min=0.99))


def test_the_frontier_says_what_dominates_what() -> None:
    close, far = near(0.999), near(0.98)
    candidates = [
        Candidate(
            name="A", size_bytes=30 * MB, fidelity=far, speedup=times(1.0), outcome="too far"
        ),
        Candidate(name="B", size_bytes=25 * MB, fidelity=close, speedup=times(2.0)),
        Candidate(name="C", outcome="not tried: it would be larger"),
    ]
    rows = {row[0]: row for row in frontier_rows(candidates, 100 * MB)}
    assert rows["A"][-1] == "too far; dominated by B"
    assert rows["B"][1:] == ["25.0 MB", "25%", "0.99900", "0.99000", "2.00x ± 0.05", "published"]
    assert rows["C"][1:-1] == ["-"] * 5


def test_a_candidate_dominates_by_no_more_than_noise() -> None:
    def dominates(
        ours: tuple[float, float] | None, theirs: tuple[float, float] | None, *, size: int = 25
    ) -> bool:
        one, other = (
            Candidate(
                name="", size_bytes=mb * MB, fidelity=near(0.999),
                speedup=given and Speedup(times=given[0], spread=given[1]),
            )
            for mb, given in ((size, ours), (25, theirs))
        )  # fmt: skip
        return one.dominates(other)

    assert dominates((2.0, 0.1), (1.5, 0.1))
    assert not dominates((2.0, 0.1), (1.9, 0.1))  # noise: no better in anything
    assert dominates((1.9, 0.1), (2.0, 0.1), size=20)
    assert not dominates((1.5, 0.1), (2.0, 0.1), size=20)
    assert not dominates((2.26, 5.65), (1.5, 0.1), size=20)
    assert not dominates((2.0, 0.1), (0.97, 0.41), size=20)
    assert dominates(None, None, size=20)
    assert not dominates((2.0, 0.1), None, size=20)
