"""GPTQ: what rounding one weight costs, the weights not rounded yet make good.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (2023), https://arxiv.org/abs/2210.17323, algorithm 1, in their order of columns;
scales are chosen block by block, of the weights as they are by then.
"""

import numpy as np
import numpy.typing as npt

from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import (
    BlockFormat,
    Blocks,
    ByteArray,
    FloatArray,
    block_scales,
    pack,
)

# Added to the diagonal, in parts of its mean; the paper's.
_DAMPING = 0.01


def gptq(weights: FloatArray, form: BlockFormat, moments: Moments) -> Blocks:
    """Rounds a matrix so that its product with typical activations moves little.

    Args:
        weights: (rows, inner) float32.
        form: The format.
        moments: Of the activation that it multiplies, `inner` channels.
    """
    rows, inner = weights.shape
    blocks = form.blocks(inner)
    integers = np.full((rows, blocks * form.block_size), form.zero_point, np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    start = 0
    for window in moments.windows:
        end = start + len(window)
        first, last = start // form.block_size, form.blocks(end)
        integers[:, start:end], scales[:, first:last] = _window(
            np.array(weights[:, start:end], np.float32), form, np.asarray(window, np.float64)
        )
        start = end
    cut = integers.reshape(rows, blocks, form.block_size)
    return Blocks(packed=pack(cut, form.bits), scales=scales)


def _window(
    weights: FloatArray, form: BlockFormat, moments: npt.NDArray[np.float64]
) -> tuple[ByteArray, FloatArray]:
    """Rounds columns whose activations' moments are known; `weights` is used up."""
    rows, inner = weights.shape
    importance = np.diag(moments).astype(np.float32)
    damping = _DAMPING * float(np.mean(importance)) or 1.0
    inverse = np.linalg.inv(moments + damping * np.eye(inner))
    # The upper factor: row k says how the later columns answer for an error in column k.
    factor = np.linalg.cholesky(inverse).T.astype(np.float32)
    integers = np.empty(weights.shape, np.uint8)
    scales = np.empty((rows, form.blocks(inner)), np.float32)
    for block in range(form.blocks(inner)):
        start, end = block * form.block_size, min(inner, (block + 1) * form.block_size)
        scale = block_scales(weights[:, None, start:end], form, importance[start:end])[:, 0]
        scales[:, block] = scale
        reciprocal = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
        errors = np.empty((rows, end - start), np.float32)
        for column in range(start, end):
            nearest = np.rint(weights[:, column] * reciprocal) + np.float32(form.zero_point)
            nearest = np.clip(nearest, 0, (1 << form.bits) - 1)
            integers[:, column] = nearest
            rounded = (nearest - np.float32(form.zero_point)) * scale
            error = (weights[:, column] - rounded) / factor[column, column]
            errors[:, column - start] = error
            weights[:, column + 1 : end] -= np.outer(error, factor[column, column + 1 : end])
        weights[:, end:] -= errors @ factor[start:end, end:]
    return integers, scales
