"""How a reranker's scores are compared."""

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, Fidelity, FloatArray
from embconvert.fidelity.floors import floor_for, shortfall
from embconvert.fidelity.kinds.reranker import agreements, compare_scores, spread
from embconvert.models.choices import Precision
from embconvert.models.kinds import Measure


def column(*values: float) -> FloatArray:
    return np.array([[value] for value in values], np.float32)


def compared(theirs: FloatArray, ours: FloatArray) -> Fidelity:
    return compare_scores(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=ours, token_mean=None),
        text_ids=[f"pair {n}" for n in range(len(theirs))],
        batch=1.0,
    )


def test_agreement_is_the_cosine_of_what_lies_as_far_apart() -> None:
    assert agreements(column(1), column(1), 2.0)[0] == 1.0
    # A distance of 0.1 at length 1: the cosine of two unit vectors that far apart is the same.
    assert agreements(column(1), column(1.2), 2.0)[0] == pytest.approx(1 - 0.1**2 / 2, abs=1e-6)
    assert agreements(column(1), column(100), 2.0)[0] == -1.0
    several = agreements(np.array([[1, 5]], np.float32), np.array([[1, 7]], np.float32), 2.0)
    assert several[0] == 0.5  # the label that moved farthest counts


def test_scores_are_measured_by_their_spread_whatever_their_scale() -> None:
    theirs = column(-2, -1, 1, 2)
    assert spread(theirs) == pytest.approx(np.std([-2, -1, 1, 2]))
    ours = theirs + np.float32(0.1)
    same, larger = compared(theirs, ours), compared(100 * theirs, 100 * ours)
    assert same.similarity.mean == pytest.approx(larger.similarity.mean, abs=1e-6)
    assert larger.max_abs_diff == pytest.approx(10.0, rel=1e-4)
    # Each label by its own mean: a label that is always high adds no spread.
    assert spread(np.hstack([theirs, theirs + 50])) == pytest.approx(spread(theirs), rel=1e-5)


def test_a_model_that_scores_all_alike_is_measured_by_the_score() -> None:
    assert spread(column(4, 4, 4)) == 4.0
    assert spread(column(0, 0)) == 1.0
    assert compared(column(4, 4), column(4, 4)).similarity.mean == 1.0


def test_the_rank_correlation_is_that_of_the_worst_label() -> None:
    theirs = np.array([[1, 1], [2, 2], [3, 3], [4, 4]], np.float32)
    ours = theirs.copy()
    ours[:, 1] = [1, 3, 2, 4]
    assert compared(theirs, theirs).rank_correlation == 1.0
    assert compared(theirs, ours).rank_correlation == pytest.approx(0.8)


def test_scores_that_keep_near_but_change_places_fall_short() -> None:
    theirs = column(*np.linspace(0, 1, 100))
    shuffled = theirs + np.float32(0.06) * np.array([[(-1) ** n] for n in range(100)], np.float32)
    figures = compared(theirs, shuffled)
    floor = floor_for(Precision.QINT8, None, Measure.AGREEMENT)
    assert figures.similarity.mean > floor.mean_cosine
    assert shortfall(figures, floor) is None
    strict = floor_for(Precision.Q8, None, Measure.AGREEMENT)
    assert "agreement" in str(shortfall(figures, strict))
    reversed_order = compared(theirs, theirs[::-1])
    assert "mean agreement" in str(shortfall(reversed_order, floor))


@pytest.mark.parametrize(("ours", "message"), [
    (np.zeros((2, 3), np.float32), "logits has shape"),
    (column(1, float("nan")), "not finite, first for text pair 1"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(ours: FloatArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compared(column(1, 2), ours)
