"""How sparse vectors are compared, and that their width is not held too often at a time."""

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, cosines
from embconvert.fidelity.kinds.sparse import active_overlap, compare_sparse, wide_cosines


def test_cosines_of_many_rows_are_those_of_each() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 75, 9), np.float32)
    np.testing.assert_array_equal(wide_cosines(a, b), cosines(a, b))


def test_overlap_is_of_what_is_active_in_either() -> None:
    a = np.array([[1, 2, 0, 0], [0, 0, 0, 0]], np.float32)
    b = np.array([[3, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    assert active_overlap(a, a) == 1.0
    assert active_overlap(a, b) == pytest.approx((1 / 3 + 1) / 2)


def test_logits_that_pooling_hides_are_compared_too() -> None:
    vectors = np.array([[1, 0], [2, 0], [0, 3]], np.float32)
    tokens = (np.array([[1, -5], [1, -2]], np.float32),) * 3
    wrong = (*tokens[:2], np.array([[1, -5], [1, 0]], np.float32))
    lowest = []
    for ours in (tokens, wrong):
        figures = compare_sparse(
            Embeddings(sentence=vectors, token_mean=None, tokens=tokens),
            Embeddings(sentence=vectors, token_mean=None, tokens=ours),
            text_ids=["a", "b", "c"],
            batch=1.0,
        )
        assert figures.similarity.min == 1.0
        lowest.append(figures.lowest_token_cosine)
    assert lowest == [pytest.approx(1.0), pytest.approx(5**-0.5)]


def test_the_logits_of_other_tokens_are_an_error() -> None:
    vectors = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match="logits has shape"):
        compare_sparse(
            Embeddings(sentence=vectors, token_mean=None, tokens=(np.ones((3, 2), np.float32),)),
            Embeddings(sentence=vectors, token_mean=None, tokens=(np.ones((2, 2), np.float32),)),
            text_ids=["a"],
            batch=1.0,
        )


def test_texts_rank_by_their_products() -> None:
    theirs = np.array([[1, 0], [2, 0], [0, 3]], np.float32)
    figures = compare_sparse(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=theirs * np.array([[1], [2], [1]], np.float32), token_mean=None),
        text_ids=["a", "b", "c"],
        batch=1.0,
    )
    assert (figures.similarity.mean, figures.rank_correlation) == (1.0, 1.0)
    assert (figures.active_dims, figures.active_overlap) == (1.0, 1.0)
