"""Scales of blocks that a graph computes from halves."""

import numpy as np
import pytest

from embconvert.quantize.blocks import BlockFormat, dequantize_blocks, quantize_blocks
from embconvert.quantize.half_scales import Scales, halves, in_half_steps

DRAWN = np.random.default_rng(0).standard_normal((40, 64), dtype=np.float32)


def test_scales_are_rounded_away_from_zero_by_less_than_a_step_of_half_precision() -> None:
    rounded = in_half_steps(DRAWN)
    assert (np.abs(rounded) >= np.abs(DRAWN)).all()
    assert (np.sign(rounded) == np.sign(DRAWN)).all()
    assert (np.abs(rounded - DRAWN) < np.abs(DRAWN) / 1024).all()
    np.testing.assert_array_equal(in_half_steps(rounded), rounded)
    np.testing.assert_array_equal(in_half_steps(np.zeros(3, np.float32)), 0)


@pytest.mark.parametrize("size", [1e-35, 1e-9, 1, 65504, 1e6, 1e35])
def test_halves_and_their_unit_stand_for_the_scales_however_large_they_are(size: float) -> None:
    scales = in_half_steps(DRAWN * np.float32(size))
    stored, unit = halves(scales)
    assert stored.dtype == np.float16
    assert unit.shape == ()
    np.testing.assert_array_equal(stored.astype(np.float32) * unit, scales)


@pytest.mark.filterwarnings("error")
def test_scales_of_zero_or_nearly_zero_remain_so() -> None:
    for scales in (np.zeros((2, 3), np.float32), np.full((2, 3), 1e-44, np.float32)):
        stored, unit = halves(in_half_steps(scales))
        assert np.abs(stored.astype(np.float32) * unit).max() <= 2e-41
    small_beside_large = in_half_steps(np.array([1e-30, 1.0], np.float32))
    stored, unit = halves(small_beside_large)
    np.testing.assert_allclose(stored.astype(np.float32) * unit, small_beside_large, atol=1e-9)


@pytest.mark.parametrize("bits", [4, 8])
def test_coarser_scales_hardly_move_weights(bits: int) -> None:
    exact, stepped = (
        BlockFormat(bits=bits, block_size=32, scales=scales)
        for scales in (Scales.FLOAT32, Scales.HALVES)
    )
    errors = [
        np.square(dequantize_blocks(quantize_blocks(DRAWN, form), form, 64) - DRAWN).mean()
        for form in (exact, stepped)
    ]
    assert errors[1] < 1.02 * errors[0]
    assert exact.nbytes(40, 64) - stepped.nbytes(40, 64) == 40 * 2 * 2
