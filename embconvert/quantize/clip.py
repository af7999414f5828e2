"""Clipped weights: a row's scale leaves its largest weights out where that moves results less."""

import numpy as np

from embconvert.quantize.blocks import FloatArray

# The scales that are tried, in parts of the one that keeps the largest weight. In a row of a
# normal distribution, 0.9 to 0.6 leave out the weights above percentiles 99.9 to 95.
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)


def clipped_scales(
    weights: FloatArray, scales: FloatArray, limit: int, squares: FloatArray
) -> FloatArray:
    """Returns the scale of each row, (rows,) float32.

    Args:
        weights: (rows, inner) float32.
        scales: Those that keep the largest weights, (rows,) float32.
        limit: The largest integer.
        squares: Mean squares of the activation: what an error in each column counts, (inner,).
    """
    best, least = scales, np.full(scales.shape, np.inf, np.float32)
    for share in _SHARES:
        tried = scales * np.float32(share)
        reciprocal = np.divide(1, tried, out=np.zeros_like(tried), where=tried != 0)
        error = np.clip(np.rint(weights * reciprocal[:, None]), -limit, limit)
        error = error * tried[:, None] - weights
        total = np.square(error, out=error) @ squares
        best = np.where(total < least, tried, best)
        least = np.minimum(total, least)
    return best
