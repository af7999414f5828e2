"""Rounding with regard to activations."""

import numpy as np
import pytest

from embconvert.quantize.blocks import BlockFormat, Blocks, dequantize_blocks, quantize_blocks
from embconvert.quantize.gptq import gptq_blocks
from embconvert.quantize.moments import Moments

FORM = BlockFormat(bits=4, block_size=32)
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((40, 224), dtype=np.float32)
# Channels that go together, as activations' do: 56 causes of 224 channels.
ACTIVATIONS = RANDOM.standard_normal((500, 56), dtype=np.float32) @ RANDOM.standard_normal(
    (56, 224), dtype=np.float32
)


def moments(*ends: int) -> Moments:
    parts = np.split(ACTIVATIONS, ends, axis=1)
    return Moments(tuple(part.T @ part / len(ACTIVATIONS) for part in parts))


def moved(blocks: Blocks) -> float:
    difference = dequantize_blocks(blocks, FORM, 224) - WEIGHTS
    return float(np.square(ACTIVATIONS @ difference.T).sum())


@pytest.mark.parametrize("windows", [moments(), moments(64)])
def test_gptq_moves_results_far_less_than_rounding_to_the_nearest(windows: Moments) -> None:
    assert moved(gptq_blocks(WEIGHTS, FORM, windows)) < 0.5 * moved(quantize_blocks(WEIGHTS, FORM))


def test_gptq_without_any_activation_rounds_all_the_same() -> None:
    nothing = Moments((np.zeros((224, 224), np.float32),))
    assert np.isfinite(gptq_blocks(WEIGHTS, FORM, nothing).scales).all()
