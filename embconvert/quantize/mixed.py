"""More bits for the products that need them.

Not every product suffers alike from rounding: in a transformer, the projections into and out of
attention move several times as far as the second feed-forward product. Which ones is measured on
the calibration texts, and those that move farthest get 8 bits.
"""

from collections.abc import Mapping

from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import (
    BlockFormat,
    FloatArray,
    dequantize_blocks,
    quantize_blocks,
)

#: The share of the products' weights that get more bits.
SHARE = 1 / 3


def relative_error(weights: FloatArray, form: BlockFormat, moments: Moments) -> float:
    """Returns how far rounding to the nearest moves a product's results: E|x dW|^2 / E|x W|^2.

    Args:
        weights: W transposed, (rows, inner) float32.
        form: The format that is tried.
        moments: Of the activation x, `inner` channels.
    """
    rounded = dequantize_blocks(quantize_blocks(weights, form), form, weights.shape[1])
    signal = moments.energy(weights)
    return moments.energy(rounded - weights) / signal if signal > 0 else 0.0


def most_moved(errors: Mapping[str, float], sizes: Mapping[str, int], share: float) -> set[str]:
    """Returns the products whose results move farthest, by name.

    Args:
        errors: The relative error of each.
        sizes: How many weights each has.
        share: How many of all the weights may be chosen.
    """
    left = share * sum(sizes.values())
    chosen = set()
    for name in sorted(errors, key=lambda n: (-errors[n], n)):
        if sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return chosen
