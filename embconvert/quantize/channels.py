"""Statistics of the activations' channels on the calibration texts."""

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
    """E[x], E[x^2] and extremes (0 if none) of an activation, each (channels,) float32."""

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
    """Returns the statistics of the products' activations, by name.

    Padding is excluded. Reading stops when the means are stable, except for `extremes`, which need
    all texts. Tied activations, as in albert, whose layers share weights, are averaged, because
    their matrix is the same.
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
            lowest=_known(np.min([part.ends[0] for part in tied], axis=0)),
            highest=_known(np.max([part.ends[1] for part in tied], axis=0)),
        )
        found |= dict.fromkeys(members, channels)
    return found


def _known(ends: FloatArray) -> FloatArray:
    return np.where(np.isfinite(ends), ends, np.float32(0))
