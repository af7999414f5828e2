"""Clipping: a row's scale excludes its largest weights if that reduces the error."""

import numpy as np

from embconvert.quantize.blocks import FloatArray, reciprocals
from embconvert.quantize.limits import WeightLimits

# Candidates for scales, relative to the one that keeps the largest weight. In a normal
# distribution, 0.9 to 0.6 exclude the weights above percentiles 99.9 to 95.
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)


def clipped_scales(
    weights: FloatArray, scales: FloatArray, limits: WeightLimits, squares: FloatArray
) -> FloatArray:
    """Returns the scale of each row, (rows,) float32.

    Args:
        weights: (rows, inner) float32.
        scales: The scales that keep the largest weights, (rows,) float32.
        squares: Mean squares of the activation, which weight the errors, (inner,).
    """
    best, least = scales, np.full(scales.shape, np.inf, np.float32)
    for share in _SHARES:
        tried = scales * np.float32(share)
        error = limits.rounded(weights * reciprocals(tried)[:, None])
        error = error * tried[:, None] - weights
        total = np.square(error, out=error) @ squares
        best = np.where(total < least, tried, best)
        least = np.minimum(total, least)
    return best
