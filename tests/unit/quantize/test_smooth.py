"""Channels that dwarf others are evened out."""

import numpy as np
import pytest

from embconvert.quantize.moments import Moments
from embconvert.quantize.smooth import is_worth_smoothing, smoothed, smoothing

RANDOM = np.random.default_rng(0)


def test_smoothing_changes_no_product_and_evens_the_channels_out() -> None:
    activation = RANDOM.standard_normal((100, 16), dtype=np.float32)
    activation[:, 3] *= 100
    weights = RANDOM.standard_normal((8, 16), dtype=np.float32)
    moments = Moments(((activation.T @ activation / 100).astype(np.float32),))
    squares = np.diag(moments.windows[0])
    factors = smoothing(squares, [weights])
    np.testing.assert_allclose(
        (activation / factors) @ (weights * factors).T, activation @ weights.T, rtol=1e-3, atol=1e-2
    )
    after = np.diag(smoothed(moments, factors).windows[0])
    assert after.max() / np.median(after) < 0.05 * squares.max() / np.median(squares)


def test_a_higher_alpha_moves_more_of_the_differences_to_the_weights() -> None:
    squares = np.array([1, 1, 1, 400], np.float32)
    weights = np.ones((8, 4), np.float32)
    moved = [smoothing(squares, [weights], alpha)[3] for alpha in (0.0, 0.5, 1.0)]
    assert moved == pytest.approx([1, 20**0.375, 20**0.75])


def test_a_channel_that_was_silent_is_not_made_loud() -> None:
    squares = np.ones(64, np.float32)
    squares[0], squares[1] = 0, 1e-12
    factors = smoothing(squares, [np.ones((4, 64), np.float32)])
    assert factors.min() >= 0.125


def test_a_wide_activation_is_smoothed_only_when_a_channel_dwarfs_the_others() -> None:
    squares = np.ones(64, np.float32)
    assert is_worth_smoothing(squares, 64)
    assert not is_worth_smoothing(squares, 16)
    squares[5] = 40
    assert is_worth_smoothing(squares, 16)
