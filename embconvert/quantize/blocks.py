"""Blockwise integers: each block of `block_size` weights along the inner dimension has a scale.

The layout is that of ONNX Runtime's MatMulNBits and GatherBlockQuantized
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). 8-bit scales are
those of ONNX Runtime's tool (mlas/lib/q4_dq.cpp, symmetric): the block's extreme value divided by
the lowest integer, so that the extreme is exact, up to the digits of the scale. With 4 bits,
another scale is often better: of several, the one with the least squared error is used, as in
llama.cpp's k-quants.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embconvert.graph.layout import copy_transposed
from embconvert.processes.threads import CHUNK, on_rows
from embconvert.quantize.half_scales import Scales, in_half_steps

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

# Candidates for 4-bit scales, relative to the scale that makes the extreme exact.
_SHARES = (1.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1)


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """How weights are stored in blocks.

    Attributes:
        bits: Per integer, 4 or 8.
        block_size: Weights per scale: a power of two, at least 16.
        scales: How the scales are stored.
    """

    bits: int
    block_size: int
    scales: Scales = Scales.FLOAT32

    @property
    def zero_point(self) -> int:
        """The operators' default."""
        return 1 << (self.bits - 1)

    @property
    def block_bytes(self) -> int:
        """Bytes of the integers in a block."""
        return self.block_size * self.bits // 8

    def blocks(self, inner: int) -> int:
        """Returns the number of blocks of `inner` weights; the last may be padded."""
        return -(-inner // self.block_size)

    def nbytes(self, rows: int, inner: int) -> int:
        """Returns the size of a quantized matrix with its scales."""
        of_scale = 4 if self.scales is Scales.FLOAT32 else 2
        return rows * self.blocks(inner) * (self.block_bytes + of_scale)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A quantized matrix.

    Attributes:
        packed: (rows, blocks, block_bytes) uint8; of two 4-bit integers, the first is in the low
            half.
        scales: (rows, blocks) float32; may be negative.
    """

    packed: ByteArray
    scales: FloatArray


class Rows(Protocol):
    """A matrix that is read row by row: an array, or a lazy reader."""

    @property
    def shape(self) -> tuple[int, ...]:
        pass

    def __getitem__(self, which: slice, /) -> FloatArray:
        pass


def quantize_blocks(
    weights: Rows,
    block_format: BlockFormat,
    *,
    transposed: bool = False,
    factors: FloatArray | None = None,
    chunk: int = CHUNK,
) -> Blocks:
    """Rounds a matrix to the nearest integers; reads a few rows at a time, each once.

    Args:
        weights: (rows, inner) float32; blocks are along the rows.
        transposed: Whether the weights are (inner, rows).
        factors: Multiplied with the weights before, (inner,) float32.
        chunk: Approximate number of weights to round at a time.
    """
    inner, rows = weights.shape if transposed else weights.shape[::-1]
    blocks, size = block_format.blocks(inner), block_format.block_size
    packed = np.empty((rows, blocks * block_format.block_bytes), np.uint8)
    scales = np.empty((rows, blocks), np.float32)

    def round_part(which_rows: slice, which_blocks: slice, given: FloatArray) -> None:
        """Rounds weights, (inner, rows), of whole blocks or up to the last block."""
        start = which_blocks.start * size
        if factors is not None:
            given = given * factors[start : start + len(given), None]
        if len(given) % size:
            short, given = given, np.zeros((blocks * size - start, given.shape[1]), np.float32)
            given[: len(short)] = short
        cut = given.reshape(-1, size, given.shape[1])
        found = block_scales(cut, block_format)
        scales[which_rows, which_blocks] = found.T
        integers = pack(
            round_blocks(cut, found, block_format).transpose(2, 0, 1), block_format.bits
        )
        columns = slice(
            which_blocks.start * block_format.block_bytes,
            which_blocks.stop * block_format.block_bytes,
        )
        copy_transposed(integers.reshape(len(integers), -1).T, packed[which_rows, columns])

    def round_rows(which: slice) -> None:
        lying = weights[which]
        given = np.empty(lying.shape[::-1], np.float32)
        copy_transposed(lying, given)
        round_part(which, slice(0, blocks), given)

    def round_runs(which: slice) -> None:
        given = weights[slice(which.start * size, which.stop * size)]
        step = max(1, chunk // size)  # for a large vocabulary, a run has many rows
        for start in range(0, rows, step):
            part = slice(start, start + step)
            round_part(part, which, given[:, part])

    if transposed:
        on_rows(round_runs, (blocks, size, rows), chunk)
    else:
        on_rows(round_rows, (rows, inner), chunk)
    return Blocks(packed=packed.reshape(rows, blocks, -1), scales=scales)


def dequantize_blocks(blocks: Blocks, block_format: BlockFormat, inner: int) -> FloatArray:
    """Returns the values of a quantized matrix, (rows, inner) float32."""
    integers = blocks.packed
    if block_format.bits == 4:
        halves = np.stack([integers & 15, integers >> 4], axis=-1)
        integers = halves.reshape(*integers.shape[:2], block_format.block_size)
    centred = integers.astype(np.float32) - np.float32(block_format.zero_point)
    weights: FloatArray = (centred * blocks.scales[:, :, None]).reshape(len(centred), -1)
    return weights[:, :inner]


def block_scales(
    cut: FloatArray, block_format: BlockFormat, importance: FloatArray | None = None
) -> FloatArray:
    """Returns the scales of blocks, (blocks, rows) float32.

    Args:
        cut: The weights, (blocks, block_size, rows) float32: rows last, as in a product's file.
        importance: Weight of each squared error, broadcastable to `cut`; None means equal.
    """
    lowest, highest = cut.min(axis=1), cut.max(axis=1)
    extreme: FloatArray = np.where(-lowest > highest, lowest, highest)
    extreme /= np.float32(-block_format.zero_point)
    if block_format.bits == 8:
        return _stored(extreme, block_format)
    best: FloatArray = extreme
    least = np.full(extreme.shape, np.inf, np.float32)
    for share in _SHARES:
        scales = _stored(extreme * np.float32(share), block_format)
        error = round_blocks(cut, scales, block_format).astype(np.float32)
        error -= np.float32(block_format.zero_point)
        error *= scales[:, None]
        error -= cut
        np.square(error, out=error)
        if importance is not None:
            error *= importance
        total = error.sum(axis=1)
        best = np.where(total < least, scales, best)
        least = np.minimum(total, least)
    return best


def _stored(scales: FloatArray, block_format: BlockFormat) -> FloatArray:
    return scales if block_format.scales is Scales.FLOAT32 else in_half_steps(scales)


def reciprocals(scales: FloatArray) -> FloatArray:
    """Returns 1 / scales; 0 for scales of zero or nearly zero, whose reciprocal is no float32.

    Rows of units that training no longer uses have such scales.
    """
    usual = np.abs(scales) >= np.finfo(np.float32).tiny
    found: FloatArray = np.divide(1, scales, out=np.zeros_like(scales), where=usual)
    return found


def round_blocks(cut: FloatArray, scales: FloatArray, block_format: BlockFormat) -> ByteArray:
    """Returns the nearest integers, (blocks, block_size, rows) uint8; see block_scales."""
    scaled = cut * reciprocals(scales)[:, None]
    np.rint(scaled, out=scaled)
    scaled += np.float32(block_format.zero_point)
    np.clip(scaled, 0, (1 << block_format.bits) - 1, out=scaled)
    return scaled.astype(np.uint8)


def pack(integers: ByteArray, bits: int) -> ByteArray:
    """Packs integers along the last axis, whose length is even."""
    if bits == 8:
        return integers
    packed: ByteArray = integers[..., ::2] | integers[..., 1::2] << np.uint8(4)
    return packed
