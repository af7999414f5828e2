"""The figures that decide whether a graph is published."""

import numpy as np
import pytest

from embconvert.fidelity.figures import (
    HISTOGRAM_EDGES,
    Embeddings,
    Fidelity,
    FloatArray,
    cosines,
)
from embconvert.fidelity.floors import Floor, shortfall
from embconvert.fidelity.kinds.embedding import compare_embeddings


def array(*rows: list[float]) -> FloatArray:
    return np.array(rows, np.float32)


def figures(ours: FloatArray, theirs: FloatArray) -> Fidelity:
    return compare_embeddings(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=ours, token_mean=None),
        text_ids=[f"text {n}" for n in range(len(theirs))],
        batch=1.0,
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
    result = compare_embeddings(
        Embeddings(sentence=np.repeat(same, [2, 1], axis=0), token_mean=None),
        Embeddings(sentence=array([1, 0], [0, 1], [1, 1]), token_mean=None),
        text_ids=["a", "a", "b"],
        batch=0.0,
    )
    assert sum(result.histogram) == 2
    assert [(w.text, round(w.similarity, 6)) for w in result.worst_texts] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite, first for text text 1"):
        figures(array([1, 0], [value, 0]), array([1, 0], [1, 0]))


def test_embeddings_that_tell_no_texts_apart_are_known() -> None:
    """Of a source whose weights are broken; then any file would be as good."""
    one, other = array([1, 2]), array([1, 2.1])
    same = np.concatenate([one, one * (1 + 1e-7)])
    for rows, is_constant in ((same, True), (same * 0, True), (one, False)):
        assert Embeddings(sentence=rows, token_mean=None).is_constant is is_constant
        tokens = tuple(row[None] for row in rows)
        of_tokens = Embeddings(sentence=None, token_mean=None, tokens=tokens)
        assert of_tokens.is_constant is is_constant
    assert not Embeddings(sentence=np.concatenate([one, other]), token_mean=None).is_constant


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        figures(array([1, 0, 0]), array([1, 0]))


def test_a_graph_with_nothing_to_compare_is_refused() -> None:
    nothing = Embeddings(sentence=None, token_mean=None)
    with pytest.raises(ValueError, match="neither"):
        compare_embeddings(nothing, nothing, text_ids=[], batch=1)


def test_blank_texts_count_apart() -> None:
    theirs = array([1, 0], [1, 0], [0, 1], [1, 1])
    ours = array([0, 1], [-1, 0], [0, 1], [1, 1.1])
    result = compare_embeddings(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=ours, token_mean=None),
        text_ids=["edge-001", "edge-007", "a", "b"],  # empty, and tabs and line ends
        batch=1.0,
    )
    assert result.blank_similarity == -1.0
    assert [worst.text for worst in result.worst_texts] == ["b", "a"]
    assert result.similarity.min > 0.99
    assert (result.texts, sum(result.histogram)) == (4, 2)
    assert result.rank_correlation == 1.0
    floor = Floor(mean_cosine=0.9, min_cosine=0.5)
    assert shortfall(result, floor) == "cosine of a blank text -1.00000 is below 0.5"
    assert figures(array([1, 0], [1, 1]), array([1, 0], [1, 1])).blank_similarity is None


def test_rows_keep_what_each_text_has() -> None:
    tokens = tuple(np.full((n, 2), n, np.float32) for n in (1, 2, 3))
    words = tuple((np.array([n]), np.array([1.0], np.float32)) for n in range(3))
    whole = Embeddings(
        sentence=np.arange(3, dtype=np.float32)[:, None],
        token_mean=None,
        tokens=tokens,
        words=words,
    )
    found = whole.rows([2, 0])
    assert found.sentence is not None
    assert found.tokens is not None
    assert found.words is not None
    assert found.sentence.ravel().tolist() == [2, 0]
    assert [len(text) for text in found.tokens] == [3, 1]
    assert [ids.tolist() for ids, _ in found.words] == [[2], [0]]
