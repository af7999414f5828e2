"""GPTQ: weights not yet rounded compensate for the error of those already rounded.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(2023), https://arxiv.org/abs/2210.17323, algorithm 1, with columns in order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.quantize.blocks import (
    BlockFormat,
    Blocks,
    FloatArray,
    block_scales,
    pack,
    reciprocals,
)
from embconvert.quantize.limits import WeightLimits
from embconvert.quantize.moments import Moments

# Added to the diagonal, relative to its mean; as in the paper.
_DAMPING = 0.01

# Channels whose errors are passed on together; even, so that it divides no pair.
_TOGETHER = 64

Int8Array = npt.NDArray[np.int8]
#: From some channels of the current weights, (channels, rows), and the weight of an error in each
#: channel, (channels,), to the scale of each row, (rows,).
ChooseScales = Callable[[FloatArray, FloatArray], FloatArray]


def gptq_blocks(weights: FloatArray, block_format: BlockFormat, moments: Moments) -> Blocks:
    """Rounds (rows, inner) blockwise, with little change of products with its inputs."""
    rows, inner = weights.shape
    scales: list[FloatArray] = []

    def choose(channels: FloatArray, importance: FloatArray) -> FloatArray:
        scales.append(block_scales(channels[None], block_format, importance[:, None])[0])
        return scales[-1]

    lowest, highest = -block_format.zero_point, block_format.zero_point - 1
    integers = _round(
        weights, moments, choose, lowest=lowest, highest=highest, block_size=block_format.block_size
    )
    padded = np.full(
        (rows, block_format.blocks(inner) * block_format.block_size),
        block_format.zero_point,
        np.uint8,
    )
    padded[:, :inner] = integers.astype(np.int16) + block_format.zero_point
    cut = padded.reshape(rows, -1, block_format.block_size)
    return Blocks(packed=pack(cut, block_format.bits), scales=np.stack(scales, axis=1))


def gptq_channels(
    weights: FloatArray, scales: FloatArray, limits: WeightLimits, moments: Moments
) -> Int8Array:
    """Rounds (rows, inner) with scales (rows,) float32 to (rows, inner) int8; see gptq_blocks."""
    return _round(
        weights,
        moments,
        lambda *_: scales,
        lowest=-limits.largest,
        highest=limits.largest,
        block_size=_TOGETHER,
        pair=limits.pair,
    )


def _round(
    weights: FloatArray,
    moments: Moments,
    choose: ChooseScales,
    *,
    lowest: int,
    highest: int,
    block_size: int,
    pair: int | None = None,
) -> Int8Array:
    """Rounds channel by channel; scales are chosen at the start of each block of channels.

    Args:
        pair: Largest sum of the absolute values of an even channel and the next one.
    """
    rows, inner = weights.shape
    # A channel is a run in memory: in rows, it would be as many cache lines as there are rows.
    integers = np.empty((inner, rows), np.int8)
    first = 0
    for moment in moments.windows:
        size = len(moment)
        rest = np.array(weights[:, first : first + size].T, np.float32, order="C")
        importance = np.diag(moment).astype(np.float32)
        factor = _inverse_factor(moment)
        for start in range(0, size, block_size):
            end = min(size, start + block_size)
            shares, block = factor[start:end, start:end], rest[start:end]
            scale = choose(block, importance[start:end])
            reciprocal = reciprocals(scale)
            errors = np.empty_like(block)
            for channel in range(end - start):
                current = block[channel]
                if channel % 2:
                    current -= shares[channel - 1, channel] * errors[channel - 1]
                else:  # of a pair, the first one needs to know the other
                    two = slice(channel, channel + 2)
                    block[two] -= shares[:channel, two].T @ errors[:channel]
                nearest = np.clip(np.rint(current * reciprocal), lowest, highest)
                if pair is not None and channel % 2:
                    room = pair - np.abs(integers[first + start + channel - 1].astype(np.float32))
                    nearest = np.clip(nearest, -room, room)
                elif pair is not None and channel + 1 < end - start:
                    following = np.abs(block[channel + 1] * reciprocal).clip(max=highest)
                    above = np.abs(nearest) + following - (pair - 1)
                    room = np.abs(nearest) - np.ceil(np.maximum(above, 0) / 2)
                    nearest = np.clip(nearest, -room, room)
                integers[first + start + channel] = nearest
                errors[channel] = (current - nearest * scale) / shares[channel, channel]
            rest[end:] -= factor[start:end, end:].T @ errors
        first += size
    return integers.T


def _inverse_factor(moment: npt.NDArray[np.float32]) -> FloatArray:
    """Returns the upper Cholesky factor of the inverse, (channels, channels) float32.

    Row k has the shares of an error in channel k for which later channels compensate.
    """
    damped = moment.astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * float(np.mean(np.diag(moment))) or 1.0
    # If J reverses the order and J A J = M M', then the inverse of A is U' U with U = J inv(M) J.
    lower = np.linalg.cholesky(damped[::-1, ::-1])
    factor: FloatArray = _inverse_of_lower(lower)[::-1, ::-1].astype(np.float32)
    return factor


def _inverse_of_lower(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the inverse of a lower triangular matrix, by halves.

    linalg.inv does not make use of the zeros, and takes four times as long.
    """
    middle = len(matrix) // 2
    if middle < _TOGETHER:
        return np.tril(np.linalg.inv(matrix))
    first, last = (
        _inverse_of_lower(matrix[part, part]) for part in (slice(middle), slice(middle, None))
    )
    found = np.zeros_like(matrix)
    found[:middle, :middle], found[middle:, middle:] = first, last
    found[middle:, :middle] = -last @ matrix[middle:, :middle] @ first
    return found
