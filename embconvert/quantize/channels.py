"""What the channels of activations look like on the calibration texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embconvert.quantize.activations import activations
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.observed import ChannelSums, channel_sums
from embconvert.quantize.products import Product, sharing
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery


@dataclass(frozen=True, kw_only=True)
class Channels:
    """An activation's channels over all tokens; each (channels,) float32.

    Attributes:
        mean: E[x_i].
        squares: E[x_i^2].
        lowest: Of the values and 0.
        highest: Of the values and 0.
    """

    mean: FloatArray
    squares: FloatArray
    lowest: FloatArray
    highest: FloatArray


def channel_statistics(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    *,
    extremes: bool = False,
) -> dict[str, Channels]:
    """Returns what the channels of what products multiply look like, by name.

    Rows of padding do not count. It ends when means are settled, unless extremes are wanted, for
    which all texts are read.
    Activations that are tied, as albert's layers share their weights, are averaged: what is done to
    a matrix for one of them holds for all.
    """
    sums: Mapping[str, ChannelSums]
    if extremes:
        widths = {product.activation: product.matrix.shape[1] for product in products}
        sums = {name: ChannelSums.none(width) for name, width in widths.items()}
        for rows in activations(surgery, products, settings):
            for name, values in rows.items():
                sums[name].add(values)
    else:
        sums = channel_sums(surgery, settings)
    found: dict[str, Channels] = {}
    for members, _ in sharing(products):
        tied = [sums[name] for name in members]
        mean, squares = np.mean([part.sums / max(1, part.rows) for part in tied], axis=0)
        channels = Channels(
            mean=mean.astype(np.float32),
            squares=squares.astype(np.float32),
            lowest=np.min([part.ends[0] for part in tied], axis=0),
            highest=np.max([part.ends[1] for part in tied], axis=0),
        )
        found |= dict.fromkeys(members, channels)
    return found
