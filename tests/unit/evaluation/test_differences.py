"""The differences of two graphs: the largest first, by similarity or by neighbours."""

import numpy as np
import pytest

from embconvert.evaluation.differences import differences
from embconvert.fidelity.figures import Embeddings
from embconvert.models.kinds import Kind


def of(vectors: np.ndarray) -> Embeddings:
    return Embeddings(sentence=vectors.astype(np.float32), token_mean=None)


def test_the_least_similar_text_is_first() -> None:
    first = np.random.default_rng(0).standard_normal((12, 8))
    second = first.copy()
    second[7] *= -1
    found = differences(Kind.EMBEDDING, of(first), of(second), "cosine")
    assert found[0].text == 7
    assert found[0].similarity == pytest.approx(-1)
    assert {one.text for one in found} == set(range(12))


def test_vectors_of_other_sizes_have_neighbours_only() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((40, 8))
    second = np.concatenate([first, first], axis=1)
    second[3] = random.standard_normal(16)
    found = differences(Kind.EMBEDDING, of(first), of(second), "cosine")
    assert {one.similarity for one in found} == {None}
    assert found[0].text == 3
    assert found[0].kept is not None
    assert found[0].kept < 0.9


def test_a_pair_has_the_scores_of_both() -> None:
    found = differences(
        Kind.RERANKER,
        of(np.array([[1.0], [2.0], [3.0]])),
        of(np.array([[1.0], [0.5], [3.1]])),
        None,
    )
    assert [one.text for one in found] == [1, 2, 0]
    assert found[0].scores == (2.0, 0.5)
    assert found[0].kept is None


def test_two_texts_have_no_neighbours_to_compare() -> None:
    vectors = of(np.eye(2))
    found = differences(Kind.EMBEDDING, vectors, vectors, "cosine")
    assert [one.kept for one in found] == [None, None]
