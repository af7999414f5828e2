"""Rows whose largest weights are clipped."""

import numpy as np

from embconvert.quantize.clip import clipped_scales
from embconvert.quantize.limits import WeightLimits

LIMITS = WeightLimits(largest=7, pair=16)
RANDOM = np.random.default_rng(0)


def test_a_row_is_clipped_only_where_that_moves_results_less() -> None:
    weights = RANDOM.standard_normal((2, 4096), dtype=np.float32)
    weights[1, 0] = 8
    scales = np.abs(weights).max(axis=1) / np.float32(7)
    silent = np.ones(4096, np.float32)
    silent[0] = 0
    clipped = clipped_scales(weights, scales, LIMITS, silent)
    assert clipped[1] < 0.8 * scales[1]
    loud = silent.copy()
    loud[0] = 1e6
    assert clipped_scales(weights, scales, LIMITS, loud)[1] > 0.9 * scales[1]
