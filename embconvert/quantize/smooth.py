"""Smoothing: scale differences between an activation's channels move to the weights.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models" (2023), https://arxiv.org/abs/2211.10438, equation 4, with the channels' root mean squares
instead of their maxima, which depend on single outliers.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels
from embconvert.quantize.moments import Moments

# Minimum factor, relative to the geometric mean: a channel that is small on the calibration texts
# may be large on others.
_LEAST = 0.125
# A channel with this share of an activation's energy is an outlier.
_DWARFING = 0.25
# Candidates for the limit of the largest channels, relative to the highest value.
_CAPS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.09, 0.06)
# A change must reduce the error at least to this share.
_LEAST_GAIN = 0.97


def is_worth_smoothing(squares: FloatArray, results: int) -> bool:
    """Whether smoothing an activation is worth the time.

    An activation wider than the results of its products, as inside a feed-forward layer, costs most
    and gains nothing in most models, except in large ones with outlier channels.

    Args:
        squares: Mean squares of the activation, (channels,) float32.
        results: Number of channels in the results of all its products.
    """
    return results >= len(squares) or bool(squares.max() > _DWARFING * squares.sum())


def smoothing(
    squares: FloatArray, matrices: Iterable[FloatArray], alpha: float = 0.5
) -> FloatArray:
    """Returns the divisors of an activation and factors of its weights, (channels,) float32.

    Args:
        squares: Mean squares of the activation, (channels,) float32.
        matrices: All of its matrices, each (rows, channels) float32.
        alpha: What share of the channels' differences moves to the weights.
    """
    reach = np.zeros(squares.shape, np.float32)
    for matrix in matrices:
        for end in (matrix.max(axis=0), -matrix.min(axis=0)):  # abs() would copy the matrix
            reach = np.maximum(reach, end)
    known = (squares > 0) & (reach > 0)
    if not known.any():
        return np.ones(squares.shape, np.float32)
    ratio = np.ones(squares.shape, np.float64)
    ratio[known] = squares[known].astype(np.float64) ** (alpha / 2) / reach[known] ** (1 - alpha)
    ratio /= np.exp(np.log(ratio[known]).mean())
    ratio[~known] = 1.0
    return np.maximum(ratio, _LEAST).astype(np.float32)


def smoothed(moments: Moments, factors: FloatArray) -> Moments:
    windows, start = [], 0
    for window in moments.windows:
        part = factors[start : start + len(window)]
        windows.append(window / part[:, None] / part)
        start += len(window)
    return Moments(tuple(windows))


def smoothing_for_one_scale(
    channels: Channels, matrices: Sequence[FloatArray], limit: int, steps: int
) -> FloatArray | None:
    """Returns the divisors of an activation with a single scale for all tokens.

    The scale depends on few channels at few tokens: in MiniLM, one of 384 channels reaches 28 while
    most are below 3. The candidates are no smoothing and smoothing() with several limits for the
    largest channels; the one with the smallest estimated error is chosen. The estimate assumes
    uniform, independent rounding errors.

    Args:
        matrices: All of its matrices, each (rows, channels) float32.
        limit: The largest integer of a weight.
        steps: Number of steps in an activation's range.

    Returns:
        (channels,) float32, or None if there is no gain.
    """
    peaks = np.maximum(channels.highest, -channels.lowest)
    sizes = [np.abs(matrix) for matrix in matrices]
    energies = np.sum([np.einsum("ij,ij->j", size, size) for size in sizes], axis=0)

    best: FloatArray | None = None
    none = np.ones(peaks.shape, np.float32)
    least = np.inf
    for base in (none, smoothing(channels.squares, matrices)):
        largest = [(size * base).max(axis=1) for size in sizes]
        top = (peaks / base).max(initial=0)
        for cap in _CAPS:
            capped = np.maximum(1, peaks / base / max(cap * top, 1e-30)).astype(np.float32)
            factors = base * capped
            loud = np.flatnonzero(capped > 1)
            highest, lowest = channels.highest / factors, channels.lowest / factors
            span = highest.max(initial=0) - lowest.min(initial=0)
            error = (span / steps) ** 2 * float(energies @ factors**2)
            signal = float(np.sum(channels.squares / factors**2))
            for size, reach in zip(sizes, largest, strict=True):
                further = (size[:, loud] * factors[loud]).max(axis=1, initial=0)
                error += float(np.square(np.maximum(reach, further) / limit).sum()) * signal
            if error < _LEAST_GAIN * least:
                best, least = (None if base is none and cap == 1 else factors), error
    return best
