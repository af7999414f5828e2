"""The figures that decide whether a graph is published."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.fidelity.figures import (
    HISTOGRAM_EDGES,
    Embeddings,
    Fidelity,
    FloatArray,
    compare,
    cosines,
    spearman,
)
from embconvert.fidelity.floors import Floor, floor_for, shortfall
from embconvert.models.choices import Precision


def array(*rows: list[float]) -> FloatArray:
    return np.array(rows, np.float32)


def figures(ours: FloatArray, theirs: FloatArray) -> Fidelity:
    return compare(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=ours, token_mean=None),
        text_ids=[f"text {n}" for n in range(len(theirs))],
        batch=1.0,
        texts_per_second=10.0,
    )


def test_cosines_know_equal_opposite_square_and_zero_vectors() -> None:
    a = array([1, 0], [1, 0], [1, 0], [0, 0], [0, 0])
    b = array([2, 0], [-1, 0], [0, 3], [0, 0], [1, 0])
    np.testing.assert_allclose(cosines(a, b), [1, -1, 0, 1, 0])


def test_equal_embeddings_are_perfect() -> None:
    same = array([1, 2], [3, 1], [0, 5])
    result = figures(same, same)
    assert result.similarity.mean == pytest.approx(1)
    assert result.max_abs_diff == 0
    assert result.rank_correlation == pytest.approx(1)
    assert result.texts == 3


def test_the_worst_text_is_named() -> None:
    result = figures(array([1, 0], [0, 1], [1, 1]), array([1, 0], [1, 0], [1, 1]))
    assert result.worst_text == "text 1"
    assert result.similarity.min == pytest.approx(0)
    assert result.max_abs_diff == 1


def test_texts_are_counted_by_their_distance_and_the_ten_worst_are_noted() -> None:
    angles = np.array([0.0, 1e-5, *np.linspace(0.01, 0.02, 12), np.pi])
    ours = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    result = figures(ours, array(*([1.0, 0.0] for _ in angles)))
    assert [worst.text for worst in result.worst_texts[:3]] == ["text 14", "text 13", "text 12"]
    assert len(result.worst_texts) == 10
    assert sum(result.histogram) == 15
    assert result.histogram[0] == 2  # distances of 0 and 5e-11
    assert result.histogram[-1] == 1  # the other way
    low, high = np.searchsorted(HISTOGRAM_EDGES, [5e-5, 2e-4])
    assert sum(result.histogram[low : high + 1]) == 12


def test_a_text_in_several_batches_counts_once_with_its_lowest_cosine() -> None:
    same = array([1, 0], [1, 1])
    result = compare(
        Embeddings(sentence=np.repeat(same, [2, 1], axis=0), token_mean=None),
        Embeddings(sentence=array([1, 0], [0, 1], [1, 1]), token_mean=None),
        text_ids=["a", "a", "b"],
        batch=0.0,
        texts_per_second=1.0,
    )
    assert sum(result.histogram) == 2
    assert [(w.text, round(w.similarity, 6)) for w in result.worst_texts] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite, first for text text 1"):
        figures(array([1, 0], [value, 0]), array([1, 0], [1, 0]))


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        figures(array([1, 0, 0]), array([1, 0]))


def test_a_graph_with_nothing_to_compare_is_refused() -> None:
    nothing = Embeddings(sentence=None, token_mean=None)
    with pytest.raises(ValueError, match="neither"):
        compare(nothing, nothing, text_ids=[], batch=1, texts_per_second=1)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.randoms())
def test_spearman_is_pearson_of_ranks_that_share_ties(values: list[int], random: object) -> None:
    other = list(values)
    random.shuffle(other)  # type: ignore[attr-defined]

    def ranks(numbers: list[int]) -> list[float]:
        return [
            sum(n < number for n in numbers) + (sum(n == number for n in numbers) + 1) / 2
            for number in numbers
        ]

    a, b = np.array(ranks(values)), np.array(ranks(other))
    if a.std() == 0:
        return
    expected = np.corrcoef(a, b)[0, 1]
    ours = spearman(np.array(values, float), np.array(other, float))
    assert ours == pytest.approx(expected)


def test_a_shortfall_says_what_and_how_much() -> None:
    good = figures(array([1, 0], [1, 0.1]), array([1, 0], [1, 0]))
    assert shortfall(good, Floor(mean_cosine=0.9)) is None
    assert "mean cosine" in str(shortfall(good, Floor(mean_cosine=0.9999)))
    assert "text 1" in str(shortfall(good, Floor(mean_cosine=0.9, min_cosine=0.9999)))
    assert "largest" in str(shortfall(good, Floor(mean_cosine=0.9, relative_diff=0.01)))


def test_min_cosine_replaces_the_floor_of_quantized_graphs_only() -> None:
    assert floor_for(Precision.QINT8, 0.5).mean_cosine == 0.5
    assert floor_for(Precision.FLOAT32, 0.5).mean_cosine == 0.99999
    assert floor_for(Precision.QINT8, None).mean_cosine == 0.97
