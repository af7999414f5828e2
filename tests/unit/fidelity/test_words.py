"""Weights of tokens as sparse vectors."""

import numpy as np

from embconvert.fidelity.words import as_vectors, word_weights


def test_a_token_that_occurs_twice_has_its_largest_weight() -> None:
    ids, weights = word_weights(
        np.array([7, 3, 7, 0]), np.array([0.25, 0.5, 0.75, 0.0], np.float32)
    )
    assert (ids.tolist(), weights.tolist()) == ([0, 3, 7], [0.0, 0.5, 0.75])


def test_vectors_have_one_dimension_for_each_id_of_any_text() -> None:
    words = [
        word_weights(np.array(ids), np.ones(len(ids), np.float32)) for ids in ([5, 250_001], [2])
    ]
    theirs, ours = as_vectors(
        words, [words[0], word_weights(np.array([]), np.zeros(0, np.float32))]
    )
    assert theirs.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert ours.tolist() == [[0, 1, 1], [0, 0, 0]]
