"""Smoothing: what makes some channels of an activation large moves into the weights.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models" (2023), https://arxiv.org/abs/2211.10438, equation 4 with alpha 0.5, by the channels'
root mean squares instead of their maxima, which one odd text sets.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels

# No channel is divided by less than so many times the geometric mean: one that was silent on the
# calibration texts may be loud on others.
_LEAST = 0.125
# The share of an activation's energy that makes a channel an outlier in any case.
_DWARFING = 0.25
# To what parts of the highest value the loudest channels are made smaller.
_CAPS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.09, 0.06)
# A change must leave so little of the error to be worth it.
_LEAST_GAIN = 0.97


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
        for end in (matrix.max(axis=0), -matrix.min(axis=0)):  # abs() would make a copy
            reach = np.maximum(reach, end)
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


def smoothing_for_one_scale(
    channels: Channels, matrices: Sequence[FloatArray], limit: int, steps: int
) -> FloatArray | None:
    """Returns what to divide an activation by that has one scale for all tokens and channels.

    Few channels, at few tokens, set that scale: in MiniLM one of 384 reaches 28 where most stay
    under 3. Tried are no smoothing and the one above, and the loudest channels made smaller, down
    to several caps; what is taken moves the results least, as far as can be told without running
    them: rounding errors count as uniform and independent.

    Args:
        channels: Of the activation.
        matrices: All that it multiplies, each (rows, channels) float32.
        limit: The largest integer of a weight.
        steps: How many steps an activation's range has.

    Returns:
        (channels,) float32, or None where nothing is gained.
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
            span = (channels.highest / factors).max() - (channels.lowest / factors).min()
            error = (span / steps) ** 2 * float(energies @ factors**2)
            signal = float(np.sum(channels.squares / factors**2))
            for size, reach in zip(sizes, largest, strict=True):
                further = (size[:, loud] * factors[loud]).max(axis=1, initial=0)
                error += float(np.square(np.maximum(reach, further) / limit).sum()) * signal
            if error < _LEAST_GAIN * least:
                best, least = (None if base is none and cap == 1 else factors), error
    return best
