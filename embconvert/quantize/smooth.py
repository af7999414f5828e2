"""Smoothing: what makes some channels of an activation large moves into the weights.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models" (2023), https://arxiv.org/abs/2211.10438, equation 4 with alpha 0.5, by the channels'
root mean squares instead of their maxima, which one odd text sets.
"""

from collections.abc import Iterable

import numpy as np

from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import FloatArray

# No channel is divided by less than so many times the geometric mean: one that was silent on the
# calibration texts may be loud on others.
_LEAST = 0.125
# The share of an activation's energy that makes a channel an outlier in any case.
_DWARFING = 0.25


def is_worth_smoothing(squares: FloatArray, results: int) -> bool:
    """Whether an activation gains more by smoothing than the pass over it costs.

    One that is wider than all that its products give, as inside a feed-forward layer, costs most
    and gains nothing on ordinary models; but there too large models have channels that dwarf the
    others.

    Args:
        squares: The activation's mean squares, (channels,) float32.
        results: Channels of all products with it together.
    """
    return results >= len(squares) or bool(squares.max() > _DWARFING * squares.sum())


def smoothing(squares: FloatArray, matrices: Iterable[FloatArray]) -> FloatArray:
    """Returns what to divide an activation by, and to multiply its weights with.

    Args:
        squares: The activation's mean squares, (channels,) float32.
        matrices: All that it multiplies, each (rows, channels) float32.

    Returns:
        (channels,) float32.
    """
    reach = np.zeros(squares.shape, np.float32)
    for matrix in matrices:
        reach = np.maximum(reach, np.abs(matrix).max(axis=0))
    known = (squares > 0) & (reach > 0)
    if not known.any():
        return np.ones(squares.shape, np.float32)
    ratio = np.ones(squares.shape, np.float64)
    ratio[known] = np.sqrt(np.sqrt(squares[known].astype(np.float64)) / reach[known])
    ratio /= np.exp(np.log(ratio[known]).mean())
    ratio[~known] = 1.0
    return np.maximum(ratio, _LEAST).astype(np.float32)


def smoothed(moments: Moments, factors: FloatArray) -> Moments:
    """Returns the moments of an activation divided by these factors."""
    windows, start = [], 0
    for window in moments.windows:
        part = factors[start : start + len(window)]
        windows.append(window / part[:, None] / part)
        start += len(window)
    return Moments(tuple(windows))
