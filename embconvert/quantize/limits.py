"""WeightLimits of 8-bit weights: x86 without VNNI adds pairs of products in 16 bits.

ONNX Runtime's kernels for AVX2 and AVX-512 without VNNI multiply unsigned activations, at most 255,
by signed weights, and add the products of channels 0 and 1, 2 and 3, and so on with `vpmaddubsw`,
whose sums saturate at 32767. Weights of 7 bits cannot reach that; neither can weights of 8 bits if
no pair's absolute values add up to more than 128 (255 * 128 = 32640), which leaves a row a scale
that is about 1.4 times finer.
"""

from dataclasses import dataclass

import numpy as np

from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.blocks import FloatArray


@dataclass(frozen=True)
class WeightLimits:
    """Limits of an integer's absolute value, and of the sum of those of a pair of channels."""

    largest: int
    pair: int

    @property
    def usual(self) -> int:
        """About the absolute value that a row's largest weight is rounded to."""
        return min(self.largest, int(self.pair / np.sqrt(2)))

    def scales(self, weights: FloatArray) -> FloatArray:
        """Returns the finest scales of (rows, inner) that clip nothing, (rows,) float32."""
        sizes = np.abs(weights)
        # Rounding a pair adds at most one to its sum.
        pairs = _pair_sums(sizes).max(axis=1, initial=0) / np.float32(self.pair - 1)
        largest = sizes.max(axis=1) / np.float32(self.largest)
        finest: FloatArray = np.maximum(largest, pairs)
        return finest

    def rounded(self, scaled: FloatArray) -> FloatArray:
        """Returns the nearest integers within the limits, (rows, inner) float32.

        Each of a pair that is too large is reduced by the same amount.

        Args:
            scaled: Weights divided by their scales; overwritten.
        """
        np.clip(scaled, -self.largest, self.largest, out=scaled)
        even, odd = scaled[:, : scaled.shape[1] // 2 * 2 : 2], scaled[:, 1::2]
        above = np.abs(even) + np.abs(odd) - (self.pair - 1)
        rows, pairs = np.nonzero(above > 0)
        if len(rows):
            excess = above[rows, pairs] / 2
            for half in (even, odd):
                some = half[rows, pairs]
                half[rows, pairs] = np.sign(some) * (np.abs(some) - excess)
        return np.rint(scaled, out=scaled)


def _pair_sums(sizes: FloatArray) -> FloatArray:
    sums: FloatArray = sizes[:, : sizes.shape[1] // 2 * 2 : 2] + sizes[:, 1::2]
    return sums


# Two integers never add up to more than 255.
_FULL, _REDUCED = WeightLimits(largest=127, pair=256), WeightLimits(largest=127, pair=128)


def weight_limits(options: QuantizeOptions) -> WeightLimits:
    return _REDUCED if options.reduce_range else _FULL
