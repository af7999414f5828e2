"""Blockwise integers: every run of `block_size` weights along the inner dimension has one scale.

The layout is that of ONNX Runtime's MatMulNBits and GatherBlockQuantized
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). An 8-bit scale is
that of its own tool (mlas/lib/q4_dq.cpp, symmetric): the block's extreme value over the lowest
integer, so that the extreme is exact. With 4 bits, a smaller or larger one is often better: of
several, the one with the least squared error is taken, as llama.cpp's k-quants do.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embconvert.graph.layout import copy_transposed
from embconvert.processes.threads import CHUNK, on_rows

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

# What 4-bit scales are tried, in parts of the one that makes the extreme exact.
_SHARES = (1.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1)


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """How a matrix is cut and rounded.

    Attributes:
        bits: Of an integer, 4 or 8.
        block_size: Weights that share a scale; a power of two, 16 at least.
    """

    bits: int
    block_size: int

    @property
    def zero_point(self) -> int:
        """What stands for zero; the operators' default."""
        return 1 << (self.bits - 1)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block's integers."""
        return self.block_size * self.bits // 8

    def blocks(self, inner: int) -> int:
        """Returns how many blocks a row of `inner` weights has; the last may be padded."""
        return -(-inner // self.block_size)

    def nbytes(self, rows: int, inner: int) -> int:
        """Returns the size of a quantized matrix with its scales."""
        return rows * self.blocks(inner) * (self.block_bytes + 4)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A quantized matrix.

    Attributes:
        packed: (rows, blocks, block_bytes) uint8; of two integers of 4 bits, the first is in the
            low half of their byte.
        scales: (rows, blocks) float32; may be negative.
    """

    packed: ByteArray
    scales: FloatArray


class Rows(Protocol):
    """A matrix of which some rows can be had: an array, or what reads them when they are asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and numbers of a row."""

    def __getitem__(self, which: slice, /) -> FloatArray:
        """Returns some rows."""


def quantize_blocks(
    weights: Rows,
    form: BlockFormat,
    *,
    transposed: bool = False,
    factors: FloatArray | None = None,
) -> Blocks:
    """Rounds a matrix to the nearest integers; it is read a few rows at a time, each once.

    Args:
        weights: (rows, inner) float32; blocks run along the rows.
        form: The format.
        transposed: The weights are given as (inner, rows).
        factors: What they are multiplied with before, (inner,) float32.
    """
    inner, rows = weights.shape if transposed else weights.shape[::-1]
    blocks, size = form.blocks(inner), form.block_size
    packed = np.empty((rows, blocks * form.block_bytes), np.uint8)
    scales = np.empty((rows, blocks), np.float32)

    def round_part(which_rows: slice, which_blocks: slice, given: FloatArray) -> None:
        """Rounds weights as (inner, rows): those of whole blocks, or up to the last."""
        start = which_blocks.start * size
        if factors is not None:
            given = given * factors[start : start + len(given), None]
        if len(given) % size:
            short, given = given, np.zeros((blocks * size - start, given.shape[1]), np.float32)
            given[: len(short)] = short
        cut = given.reshape(-1, size, given.shape[1])
        found = block_scales(cut, form)
        scales[which_rows, which_blocks] = found.T
        integers = pack(round_blocks(cut, found, form).transpose(2, 0, 1), form.bits)
        columns = slice(which_blocks.start * form.block_bytes, which_blocks.stop * form.block_bytes)
        copy_transposed(integers.reshape(len(integers), -1).T, packed[which_rows, columns])

    def round_rows(which: slice) -> None:
        lying = weights[which]
        given = np.empty(lying.shape[::-1], np.float32)
        copy_transposed(lying, given)
        round_part(which, slice(0, blocks), given)

    def round_runs(which: slice) -> None:
        given = weights[slice(which.start * size, which.stop * size)]
        step = max(1, CHUNK // size)  # of a large vocabulary, one run has many
        for start in range(0, rows, step):
            part = slice(start, start + step)
            round_part(part, which, given[:, part])

    if transposed:
        on_rows(round_runs, (blocks, size, rows))
    else:
        on_rows(round_rows, (rows, inner))
    return Blocks(packed=packed.reshape(rows, blocks, -1), scales=scales)


def dequantize_blocks(blocks: Blocks, form: BlockFormat, inner: int) -> FloatArray:
    """Returns the weights that a quantized matrix stands for, (rows, inner) float32."""
    integers = blocks.packed
    if form.bits == 4:
        halves = np.stack([integers & 15, integers >> 4], axis=-1)
        integers = halves.reshape(*integers.shape[:2], form.block_size)
    centred = integers.astype(np.float32) - np.float32(form.zero_point)
    weights: FloatArray = (centred * blocks.scales[:, :, None]).reshape(len(centred), -1)
    return weights[:, :inner]


def block_scales(
    cut: FloatArray, form: BlockFormat, importance: FloatArray | None = None
) -> FloatArray:
    """Returns the scales of blocks, (blocks, rows) float32.

    Args:
        cut: The weights, (blocks, block_size, rows) float32: rows last, for that is how a product's
            weights lie in its file.
        form: The format.
        importance: What a squared error of each weight counts, of a shape that broadcasts to
            `cut`; None counts all alike.
    """
    lowest, highest = cut.min(axis=1), cut.max(axis=1)
    extreme: FloatArray = np.where(-lowest > highest, lowest, highest)
    extreme /= np.float32(-form.zero_point)
    if form.bits == 8:
        return extreme
    best: FloatArray = extreme
    least = np.full(extreme.shape, np.inf, np.float32)
    for share in _SHARES:
        scales = extreme * np.float32(share)
        error = round_blocks(cut, scales, form).astype(np.float32)
        error -= np.float32(form.zero_point)
        error *= scales[:, None]
        error -= cut
        np.square(error, out=error)
        if importance is not None:
            error *= importance
        total = error.sum(axis=1)
        best = np.where(total < least, scales, best)
        least = np.minimum(total, least)
    return best


def round_blocks(cut: FloatArray, scales: FloatArray, form: BlockFormat) -> ByteArray:
    """Returns the nearest integers, (blocks, block_size, rows) uint8; see block_scales."""
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    scaled = cut * inverse[:, None]
    np.rint(scaled, out=scaled)
    scaled += np.float32(form.zero_point)
    np.clip(scaled, 0, (1 << form.bits) - 1, out=scaled)
    return scaled.astype(np.uint8)


def pack(integers: ByteArray, bits: int) -> ByteArray:
    """Packs integers along the last axis, whose length is even."""
    if bits == 8:
        return integers
    packed: ByteArray = integers[..., ::2] | integers[..., 1::2] << np.uint8(4)
    return packed
