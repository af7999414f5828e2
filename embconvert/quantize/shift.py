"""Shifting: the middle of each channel's range is subtracted, and given back in the bias.

Channels that are large for every token are mostly far from zero rather than wide, so symmetric
integers waste half of their range on them.

Wei et al., "Outlier Suppression+: Accurate quantization of large language models by equivalent and
effective shifting and scaling" (2023), https://arxiv.org/abs/2304.09145, equation 2. Products
without a bias are not shifted, which would cost a pass over their results.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from embconvert.quantize.bias import foldable_biases
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels
from embconvert.quantize.products import Product, sharing

# A shift must reduce the largest channel's reach at least to this share.
_LEAST_GAIN = 0.95


def middles(products: Sequence[Product], channels: Mapping[str, Channels]) -> dict[str, FloatArray]:
    """Returns what to subtract from activations, (channels,) float32 by name, where it is worth it.

    An activation wider than the results of its products is not shifted: inside a feed-forward
    layer, a pass over it costs most, and its values are rarely negative.
    """
    biased = foldable_biases(products).keys()
    found: dict[str, FloatArray] = {}
    for activations, matrices in sharing(products):
        known = channels[activations[0]]
        results = sum(matrix.shape[0] for matrix in matrices)
        if results < len(known.mean) or any(matrix.name not in biased for matrix in matrices):
            continue
        middle = (known.lowest + known.highest) / np.float32(2)
        reach = np.maximum(known.highest, -known.lowest)
        if np.square(reach - np.abs(middle)).sum() < _LEAST_GAIN * np.square(reach).sum():
            found |= dict.fromkeys(activations, middle)
    return found


def shifted(channels: Channels, offsets: FloatArray) -> Channels:
    """Returns the statistics of an activation minus its offsets, (channels,) float32."""
    mean = channels.mean - offsets
    return Channels(
        mean=mean,
        squares=np.maximum(channels.squares - channels.mean**2 + mean**2, 0),
        lowest=channels.lowest - offsets,
        highest=channels.highest - offsets,
    )
