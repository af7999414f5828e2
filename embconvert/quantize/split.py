"""Split channels: the few that dwarf all others are multiplied apart, in float32.

Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale" (2022),
https://arxiv.org/abs/2208.07339, section 3.2, with channels that are chosen on the calibration
texts instead of at every run.
"""

import numpy as np

from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels

# At most this part of the channels is split off, and a channel only when it reaches so many times
# as far as the loudest that stays.
_MOST = 1 / 64
_ABOVE = 2.0


def without_outliers(channels: Channels, factors: FloatArray | None) -> FloatArray | None:
    """Returns what to divide an activation by, infinity for the channels that are split off.

    Args:
        channels: Of the activation.
        factors: What it is divided by already, (channels,) float32; None for nothing.
    """
    peaks = np.maximum(channels.highest, -channels.lowest)
    if factors is not None:
        peaks = peaks / factors
    most = int(len(peaks) * _MOST)
    order = np.argsort(-peaks, kind="stable")[: most + 1]
    found = [c for c in order[:-1] if peaks[c] > _ABOVE * peaks[order[-1]]]
    if not found:
        return factors
    split = np.ones(peaks.shape, np.float32) if factors is None else factors.copy()
    split[found] = np.inf
    return split
