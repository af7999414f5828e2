"""GPTQ: what rounding one weight costs, the weights not rounded yet make good.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (2023), https://arxiv.org/abs/2210.17323, algorithm 1, in their order of columns.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import BlockFormat, Blocks, FloatArray, block_scales, pack

# Added to the diagonal, in parts of its mean; the paper's.
_DAMPING = 0.01

IntArray = npt.NDArray[np.int8]
#: From some columns of the weights, (rows, columns), as they are by then, and what an error in
#: each column counts, (columns,), to the scale of each row, (rows,).
Scales = Callable[[FloatArray, FloatArray], FloatArray]


def gptq_blocks(weights: FloatArray, form: BlockFormat, moments: Moments) -> Blocks:
    """Rounds a matrix blockwise so that its product with typical activations moves little.

    Args:
        weights: (rows, inner) float32.
        form: The format.
        moments: Of the activation that it multiplies, `inner` channels.
    """
    rows, inner = weights.shape
    scales: list[FloatArray] = []

    def choose(columns: FloatArray, importance: FloatArray) -> FloatArray:
        scales.append(block_scales(columns.T[None], form, importance[:, None])[0])
        return scales[-1]

    lowest, highest = -form.zero_point, form.zero_point - 1
    integers = _round(
        weights, moments, choose, lowest=lowest, highest=highest, block_size=form.block_size
    )
    padded = np.full((rows, form.blocks(inner) * form.block_size), form.zero_point, np.uint8)
    padded[:, :inner] = integers.astype(np.int16) + form.zero_point
    cut = padded.reshape(rows, -1, form.block_size)
    return Blocks(packed=pack(cut, form.bits), scales=np.stack(scales, axis=1))


def gptq_channels(
    weights: FloatArray, scales: FloatArray, limit: int, moments: Moments
) -> IntArray:
    """Rounds a matrix whose rows have a scale each; see gptq_blocks.

    Args:
        weights: (rows, inner) float32.
        scales: (rows,) float32.
        limit: The largest integer, and minus the lowest.
        moments: Of the activation that it multiplies, `inner` channels.

    Returns:
        (rows, inner) int8.
    """
    return _round(weights, moments, lambda *_: scales, lowest=-limit, highest=limit, block_size=64)


def _round(
    weights: FloatArray,
    moments: Moments,
    choose: Scales,
    *,
    lowest: int,
    highest: int,
    block_size: int,
) -> IntArray:
    """Rounds column after column; scales are chosen at the start of each block of columns."""
    integers = np.empty(weights.shape, np.int8)
    first = 0
    for moment in moments.windows:
        size = len(moment)
        rest = np.array(weights[:, first : first + size], np.float32)
        importance = np.diag(moment).astype(np.float32)
        factor = _inverse_factor(moment)
        for start in range(0, size, block_size):
            end = min(size, start + block_size)
            scale = choose(rest[:, start:end], importance[start:end])
            reciprocal = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
            errors = np.empty((len(rest), end - start), np.float32)
            for column in range(start, end):
                nearest = np.clip(np.rint(rest[:, column] * reciprocal), lowest, highest)
                integers[:, first + column] = nearest
                error = (rest[:, column] - nearest * scale) / factor[column, column]
                errors[:, column - start] = error
                rest[:, column + 1 : end] -= np.outer(error, factor[column, column + 1 : end])
            rest[:, end:] -= errors @ factor[start:end, end:]
        first += size
    return integers


def _inverse_factor(moment: npt.NDArray[np.float32]) -> FloatArray:
    """Returns the upper Cholesky factor of the inverse, (channels, channels) float32.

    Row k says how the later columns answer for an error in column k.
    """
    damped = moment.astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * float(np.mean(np.diag(moment))) or 1.0
    factor: FloatArray = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    return factor
