"""Whether texts stay in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from embconvert.fidelity.ranking import (
    NEIGHBOURS,
    Neighbours,
    Scores,
    kept_neighbours,
    rank_correlation,
    spearman,
)


def scores(texts: int, noise: float = 0.0) -> Scores:
    """Scores of texts on a line, the nearer the higher, with noise."""
    places = np.arange(texts, dtype=np.float64)
    random = np.random.default_rng(0)
    return -np.abs(places[:, None] - places) + noise * random.standard_normal((texts, texts))


def kept(theirs: Scores, ours: Scores) -> Neighbours:
    found = kept_neighbours(theirs, ours, range(len(theirs)))
    assert found is not None
    return found


def test_the_share_of_the_ten_nearest_that_stay() -> None:
    theirs = scores(100)
    assert kept(theirs, theirs) == Neighbours(kept=1.0, of=NEIGHBOURS, texts=100)
    # Another text takes the place of one of the ten nearest of one of the texts.
    ours = theirs.copy()
    ours[50, 90] = 0.5
    assert kept(theirs, ours).kept == pytest.approx(1 - 1 / 1000)
    assert kept(theirs, -theirs).kept < 0.2


def test_a_text_is_no_neighbour_of_its_own() -> None:
    theirs, ours = scores(100), scores(100)
    np.fill_diagonal(ours, -1000)
    assert kept(theirs, ours).kept == 1.0
    beside = kept_neighbours(theirs, ours, [None] * 100)
    assert beside is not None
    assert beside.kept < 1.0


def test_a_tie_or_rounding_loses_no_neighbour() -> None:
    theirs = np.ones((100, 100))
    theirs[:, :5] = 2
    rounded = theirs + 1e-7 * scores(100, noise=1.0) / 100
    assert kept(theirs, rounded).kept == 1.0
    assert kept(np.ones((9, 9)), scores(9)).kept == 1.0


@pytest.mark.parametrize(("texts", "count"), [(3, 1), (16, 3), (30, 7), (41, 10), (300, 10)])
def test_of_a_sample_fewer_neighbours_are_compared(texts: int, count: int) -> None:
    assert kept(scores(texts), scores(texts)).of == count


def test_two_texts_have_no_neighbours() -> None:
    assert kept_neighbours(scores(2), scores(2), range(2)) is None


def test_two_texts_or_fewer_have_no_order() -> None:
    assert rank_correlation(np.array([]), np.array([])) == 1.0
    assert rank_correlation(np.array([0.5]), np.array([-0.5])) == 1.0


def test_a_share_is_below_another_only_beyond_the_sampling_error() -> None:
    assert Neighbours(kept=0.85, of=10, texts=300).is_below(0.9)
    assert not Neighbours(kept=0.85, of=3, texts=16).is_below(0.9)
    assert Neighbours(kept=0.5, of=3, texts=16).is_below(0.9)
    assert not Neighbours(kept=0.0, of=3, texts=16).is_below(-1.0)


def test_where_the_source_has_no_order_there_is_none_to_keep() -> None:
    flat = 1 + 1e-8 * scores(5, noise=1.0).ravel()
    assert rank_correlation(flat, scores(5).ravel()) == 1.0
    assert rank_correlation(scores(5).ravel(), flat) < 1.0


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.randoms())
def test_spearman_is_that_of_scipy_also_with_ties(values: list[int], random: object) -> None:
    other = list(values)
    random.shuffle(other)  # type: ignore[attr-defined]
    if len(set(values)) == 1:
        assert spearman(np.array(values, float), np.array(other, float)) == 1
        return
    ours = spearman(np.array(values, float), np.array(other, float))
    assert ours == pytest.approx(spearmanr(values, other).statistic)
