"""Eight-bit weights whose products fit in pairs into 16 bits."""

import numpy as np
import pytest

from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.blocks import reciprocals
from embconvert.quantize.gptq import gptq_channels
from embconvert.quantize.limits import WeightLimits, weight_limits
from embconvert.quantize.moments import Moments

RANDOM = np.random.default_rng(0)
REDUCED = weight_limits(QuantizeOptions(reduce_range=True))
FULL = weight_limits(QuantizeOptions(reduce_range=False))


def largest_pair(integers: np.ndarray) -> int:
    even = integers[:, : integers.shape[1] // 2 * 2 : 2].astype(int)
    return int((np.abs(even) + np.abs(integers[:, 1::2].astype(int))).max())


def rounded(weights: np.ndarray, limits: WeightLimits, share: float = 1.0) -> np.ndarray:
    scales = limits.scales(weights) * np.float32(share)
    return limits.rounded(weights * reciprocals(scales)[:, None])


@pytest.mark.parametrize("inner", [1, 2, 63, 384])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_no_pair_exceeds_the_limit_even_if_weights_are_clipped(inner: int, share: float) -> None:
    weights = RANDOM.standard_normal((50, inner), dtype=np.float32)
    integers = rounded(weights, REDUCED, share)
    assert np.abs(integers).max() <= 127
    if inner > 1:
        assert largest_pair(integers) <= 128


def test_the_scale_of_normal_weights_is_much_finer_than_that_of_seven_bits() -> None:
    weights = RANDOM.standard_normal((200, 384), dtype=np.float32)
    seven = np.abs(weights).max(axis=1) / 64
    assert np.median(REDUCED.scales(weights) / seven) < 0.75
    assert np.median(FULL.scales(weights) / seven) == pytest.approx(64 / 127, rel=0.01)


def test_a_scale_clips_nothing() -> None:
    weights = RANDOM.standard_normal((50, 64), dtype=np.float32)
    for limits in (REDUCED, FULL):
        scales = limits.scales(weights)[:, None]
        integers = rounded(weights.copy(), limits)
        assert (np.abs(integers * scales - weights) <= 0.501 * scales).all()


def test_pairs_that_are_too_large_lose_the_same_amount() -> None:
    scaled = np.array([[100, -100, 127, 5, 300, 300, 30]], np.float32)
    found = WeightLimits(largest=127, pair=128).rounded(scaled)
    assert found.tolist() == [[64, -64, 124, 2, 64, 64, 30]]


def test_rows_of_zeros_stay_zero() -> None:
    assert not rounded(np.zeros((2, 8), np.float32), REDUCED).any()


@pytest.mark.parametrize("inner", [64, 100, 131])
def test_gptq_keeps_the_limits_although_it_changes_weights(inner: int) -> None:
    weights = RANDOM.standard_normal((30, inner), dtype=np.float32)
    causes = RANDOM.standard_normal((400, 12), dtype=np.float32)
    x = causes @ RANDOM.standard_normal((12, inner), dtype=np.float32)
    scales = REDUCED.scales(weights)
    integers = gptq_channels(
        weights, scales, REDUCED, Moments((np.asarray(x.T @ x / 400, np.float32),))
    )
    assert largest_pair(integers) <= 128
    nearest = REDUCED.rounded(weights * reciprocals(scales)[:, None])

    def error(found: np.ndarray) -> float:
        return float(np.square(x @ (found * scales[:, None] - weights).T).sum())

    assert error(integers) < 0.5 * error(nearest)
