"""Vectors must be as long as the source's: cosines do not tell."""

import numpy as np
import pytest

from embconvert.fidelity.figures import FloatArray
from embconvert.fidelity.lengths import check_lengths

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((20, 8), dtype=np.float32) * 10
UNIT: FloatArray = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


def test_equal_ones_and_those_that_a_precision_moves_pass() -> None:
    noise = RNG.standard_normal(VECTORS.shape, dtype=np.float32)
    check_lengths(VECTORS, VECTORS + noise, "output")
    check_lengths(VECTORS, VECTORS * np.float32(0.8), "output")
    check_lengths(UNIT, UNIT * np.float32(1.001), "output")


def test_a_single_vector_is_noticed_where_the_source_normalizes() -> None:
    ours = UNIT.copy()
    ours[3] *= 1.2
    with pytest.raises(ValueError, match=r"output has a vector of length 1\.2, but"):
        check_lengths(UNIT, ours, "output")
    check_lengths(VECTORS, VECTORS * np.where(np.arange(20) == 3, 9, 1)[:, None], "output")


@pytest.mark.parametrize("factor", [0.5, 2])
def test_another_scale_is_noticed(factor: float) -> None:
    with pytest.raises(ValueError, match=f"vectors of {factor} times the length"):
        check_lengths(VECTORS, VECTORS * np.float32(factor), "output")


def test_empty_vectors_have_no_length_to_compare() -> None:
    zeros = np.zeros_like(VECTORS)
    check_lengths(zeros, zeros, "output")
    some = np.where(np.arange(20) < 5, 0, 1)[:, None] * VECTORS
    check_lengths(some, some, "output")
    check_lengths(UNIT, zeros, "output")  # their cosines are 0
