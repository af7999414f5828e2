"""Scales of blocks in half precision, which become float32 when a graph is loaded.

A scale of float32 for 32 weights of 4 bits takes a fifth of their size. What a graph computes from
weights only, here a Cast and a Mul, ONNX Runtime computes once, when it loads the graph, so
inference takes no longer. Each table has a power of two of its own as the unit of its scales, so
that they fit however large or small its weights are.
"""

from enum import Enum, auto

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# Bits of float32's fraction beyond those of half precision.
_BEYOND = np.uint32((1 << 13) - 1)
# Exponents of the largest number of half precision, and of float32's smallest normal number.
_HIGHEST, _LOWEST = 15, -126


class Scales(Enum):
    """How the scales of blocks are stored."""

    FLOAT32 = auto()
    #: As halves and their unit, from which the graph computes them.
    HALVES = auto()
    #: As float32, in half steps: for a graph whose weights become halves anyway.
    HALF_STEPS = auto()


def in_half_steps(scales: FloatArray) -> FloatArray:
    """Rounds scales to as many digits as half precision has, away from zero.

    So no weight of a block leaves the range of its integers.
    """
    found: FloatArray = ((scales.view(np.uint32) + _BEYOND) & ~_BEYOND).view(np.float32)
    return found


def halves(scales: FloatArray) -> tuple[npt.NDArray[np.float16], FloatArray]:
    """Returns scales of in_half_steps() as halves, and their unit, a power of two, of shape ().

    Only scales that are less than the largest divided by 2**29 lose digits.
    """
    exponent = int(np.frexp(np.abs(scales).max(initial=0))[1]) - 1
    unit = np.ldexp(np.float32(1), max(exponent - _HIGHEST, _LOWEST))
    return (scales / unit).astype(np.float16), np.asarray(unit, np.float32)
