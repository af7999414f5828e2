"""How sparse vectors are compared, and that their width is not held too often at a time."""

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, cosines
from embconvert.fidelity.sparse import active_overlap, compare_sparse, wide_cosines
from embconvert.fidelity.workload import make_workload
from embconvert.graph.cutting import cut


def test_cosines_of_many_rows_are_those_of_each() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 75, 9), np.float32)
    np.testing.assert_array_equal(wide_cosines(a, b), cosines(a, b))


def test_overlap_is_of_what_is_active_in_either() -> None:
    a = np.array([[1, 2, 0, 0], [0, 0, 0, 0]], np.float32)
    b = np.array([[3, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    assert active_overlap(a, a) == 1.0
    assert active_overlap(a, b) == pytest.approx((1 / 3 + 1) / 2)


def test_texts_rank_by_their_products() -> None:
    theirs = np.array([[1, 0], [2, 0], [0, 3]], np.float32)
    figures = compare_sparse(
        Embeddings(sentence=theirs, token_mean=None),
        Embeddings(sentence=theirs * np.array([[1], [2], [1]], np.float32), token_mean=None),
        text_ids=["a", "b", "c"],
        batch=1.0,
        texts_per_second=1.0,
    )
    assert (figures.similarity.mean, figures.rank_correlation) == (1.0, 1.0)
    assert (figures.active_dims, figures.active_overlap) == (1.0, 1.0)


@pytest.mark.parametrize("vocabulary", [30_522, 250_002])
def test_a_batch_of_numbers_for_each_word_is_bounded(vocabulary: int) -> None:
    lengths = [3, 8, 20, 60, 90, 130, 512] * 40
    workload = make_workload(lengths, wide_values=vocabulary)
    for group in workload.groups:
        widest = len(group) * max(lengths[i] for i in group) * vocabulary * 4
        assert len(group) == 1 or widest <= 1 << 27
    assert workload.texts == len(lengths)
    assert max(len(g) for g in make_workload(lengths).groups) == 32


def test_what_a_large_product_makes_does_not_cross_pieces() -> None:
    """The product with a vocabulary alone is larger than a piece; what pools follows it."""
    nodes = [([f"v{n}"], [f"v{n + 1}"]) for n in range(6)]
    megabyte = 1 << 20
    pieces = cut(nodes, ["v6"], [megabyte, megabyte, 99 * megabyte, 400, 0, 0],
                 largest_bytes=2 * megabyte)  # fmt: skip
    assert [(piece.start, piece.end) for piece in pieces][-1] == (2, 6)
