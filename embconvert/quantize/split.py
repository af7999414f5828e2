"""Split channels: the few outlier channels are multiplied separately, in float32.

Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale" (2022),
https://arxiv.org/abs/2208.07339, section 3.2, but with channels chosen on the calibration texts
instead of at run time.
"""

import numpy as np

from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels

# The maximum share of split channels, and the minimum ratio of their peaks to the largest other
# peak.
_MOST = 1 / 64
_ABOVE = 2.0


def without_outliers(channels: Channels, factors: FloatArray | None) -> FloatArray | None:
    """Returns the divisors of an activation, (channels,) float32; infinity splits one."""
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
