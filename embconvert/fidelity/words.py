"""Weights of tokens as sparse vectors, without the width of a vocabulary; numpy only."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: A text's token ids, ascending, (ids,) int64, and their weights, (ids,) float32; others have 0.
Words = tuple[IntArray, FloatArray]


def word_weights(ids: IntArray, weights: FloatArray) -> Words:
    """Returns the largest weight of each token id of a text; weights are (tokens,), 0 or more."""
    found, places = np.unique(ids, return_inverse=True)
    largest = np.zeros(len(found), np.float32)
    np.maximum.at(largest, places, weights)
    return found, largest


def as_vectors(*sides: Sequence[Words]) -> tuple[FloatArray, ...]:
    """Returns texts' words as vectors, (texts, ids), with one dimension per id that occurs."""
    used = np.unique(np.concatenate([ids for texts in sides for ids, _ in texts]))
    made = []
    for texts in sides:
        vectors = np.zeros((len(texts), len(used)), np.float32)
        for row, (ids, weights) in zip(vectors, texts, strict=True):
            row[np.searchsorted(used, ids)] = weights
        made.append(vectors)
    return tuple(made)
