"""Embeddings of integers, as graphs with `--output_precision` give them; numpy only."""

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import FloatArray
from embconvert.models.choices import Ranges
from embconvert.models.vector_code import VectorCode

#: A component that is smaller, relative to the largest of its vector, has either sign by rounding;
#: one whose range is smaller, relative to the largest range, is constant but for rounding.
_ROUNDING = 1e-5


def ranges_of(vectors: FloatArray) -> Ranges:
    """Returns the lowest and the highest value of each component of (texts, dim) float32.

    A component that varies only by rounding is taken for constant: its steps would be noise.
    """
    lows, highs = vectors.min(axis=0), vectors.max(axis=0)
    sizes = highs - lows
    highs = np.where(sizes <= _ROUNDING * sizes.max(), lows, highs)
    return tuple(lows.tolist()), tuple(highs.tolist())


def decoded(codes: npt.NDArray[np.integer], code: VectorCode) -> FloatArray:
    """Returns embeddings as far as codes, (texts, code.size), tell them, (texts, dim) float32.

    Of bits, 1 and -1; otherwise the middle of each step, and of a constant component its value.
    Raises ValueError if they have another type or size.
    """
    if codes.dtype != code.precision.dtype or codes.shape[1:] != (code.size,):
        raise ValueError(
            f"sentence_embedding is {codes.dtype} of size {codes.shape[-1]}, not "
            f"{code.precision.dtype} of size {code.size} ({code.precision})"
        )
    signed = codes.astype(np.int16) + (128 if code.precision.dtype == "int8" else 0)
    if code.precision.is_bits:
        bits = np.unpackbits(signed.astype(np.uint8), axis=1)[:, : code.dimension]
        signs: FloatArray = bits.astype(np.float32) * np.float32(2) - np.float32(1)
        return signs
    lows, steps, middles = _steps(code)
    vectors: FloatArray = ((signed + middles) * steps + lows).astype(np.float32)
    return vectors


def rounded(vectors: FloatArray, code: VectorCode) -> FloatArray:
    """Returns what decoded() makes of the integers of embeddings, (texts, dim) float32.

    Source: sentence_transformers.util.quantization.quantize_embeddings (6.2).
    """
    if code.precision.is_bits:
        return np.where(vectors > 0, np.float32(1), np.float32(-1))
    lows, steps, middles = _steps(code)
    codes = np.clip(np.floor((vectors - lows) / steps), 0, 255)
    kept: FloatArray = ((codes + middles) * steps + lows).astype(np.float32)
    return kept


def as_searched(vectors: FloatArray, code: VectorCode) -> FloatArray:
    """Returns decoded embeddings as search engines compare them, (texts, dim) float32.

    int8 and uint8 are compared as they are, the latter less 128; a cosine of bits orders texts as
    the number of differing bits does.
    """
    if code.precision.is_bits:
        return vectors
    lows, steps, middles = _steps(code)
    return (vectors - lows) / steps - middles - np.float32(128)


def bit_cosines(theirs: FloatArray, ours: FloatArray) -> npt.NDArray[np.float64]:
    """Estimates the cosine of each pair of rows by the share of bits that differ, cos(pi * share).

    `theirs` are embeddings before rounding, and `ours` bits as 1 and -1, (texts, dim) float32. Bits
    of components that are zero but for float32 rounding do not count. Source:
    https://dl.acm.org/doi/10.1145/509907.509965, section 3.
    """
    sizes = np.abs(theirs)
    clear = sizes > _ROUNDING * sizes.max(axis=1, keepdims=True)
    differ = ((theirs > 0) != (ours > 0)) & clear
    estimates: npt.NDArray[np.float64] = np.cos(np.pi * differ.mean(axis=1, dtype=np.float64))
    return estimates


def _steps(code: VectorCode) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns each component's lowest value, its step, and the middle of one, (dim,) float32.

    A constant component has steps of 1, as in the graph; half of one would be larger than it.
    """
    lows, highs = (np.array(values, np.float32) for values in (code.lows, code.highs))
    steps = (highs - lows) / np.float32(255)
    is_constant = steps == 0
    middles = np.where(is_constant, np.float32(0), np.float32(0.5))
    return lows, np.where(is_constant, np.float32(1), steps), middles
