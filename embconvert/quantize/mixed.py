"""Mixed precision: more bits for the most sensitive products.

Products differ in their sensitivity to rounding: in a transformer, the results of attention's
projections change several times as much as those of the second feed-forward product. Sensitivity is
measured on the calibration texts, and the most sensitive products get 8 bits.
"""

from collections.abc import Mapping

from embconvert.quantize.blocks import (
    BlockFormat,
    FloatArray,
    dequantize_blocks,
    quantize_blocks,
)
from embconvert.quantize.moments import Moments

# The share of the products' weights that get more bits is at least this, and more as long as the
# weights take this share of float32's size: with the rest of a graph, a fifth.
_LEAST_SHARE = 1 / 3
_SIZE = 0.195


def affordable_share(few: int, more: int, tables: int, float32: int) -> float:
    """Returns the share of the products' weights that get more bits.

    A model whose embedding table has most of its weights can have more bits everywhere else.

    Args:
        few: Bytes of all products with few bits.
        more: Likewise, with more bits.
        tables: Bytes of the quantized tables.
        float32: Bytes of products and tables in float32.
    """
    left = _SIZE * float32 - few - tables
    return min(1.0, max(_LEAST_SHARE, left / max(1, more - few)))


def relative_error(weights: FloatArray, block_format: BlockFormat, moments: Moments) -> float:
    """Returns E|x dW|^2 / E|x W|^2, the error by rounding W transposed, (rows, inner)."""
    rounded = dequantize_blocks(
        quantize_blocks(weights, block_format), block_format, weights.shape[1]
    )
    signal = moments.energy(weights)
    return moments.energy(rounded - weights) / signal if signal > 0 else 0.0


def most_moved(errors: Mapping[str, float], sizes: Mapping[str, int], share: float) -> set[str]:
    """Returns the names of the most sensitive products, with at most this share of the weights."""
    left = share * sum(sizes.values())
    chosen = set()
    for name in sorted(errors, key=lambda n: (-errors[n], n)):
        if sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return chosen
