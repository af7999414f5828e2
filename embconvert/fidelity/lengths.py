"""Whether vectors are as long as the source's, of which their cosines tell nothing; numpy only."""

import numpy as np

from embconvert.fidelity.figures import FloatArray

# How far from 1 the lengths of normalized vectors are in the source, by rounding, and may be in a
# graph: it normalizes last, so no precision changes them.
_UNIT_ROUNDING, _LARGEST_UNIT_ERROR = 1e-3, 0.05
# How many times as long, or as short, half of the other vectors may be.
_LARGEST_RATIO = 1.5


def check_lengths(theirs: FloatArray, ours: FloatArray, what: str) -> None:
    """Raises ValueError for vectors, (n, dim) float32, of other lengths than the source's.

    Cosines are the same for all lengths. If the source normalizes, each vector must have a length
    of 1; otherwise a precision may change lengths, but not most of them by much.
    """
    before, after = (np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64)) for x in (theirs, ours))
    present = (before > 0) & (after > 0)  # the cosine of a zero vector tells
    if not present.any():
        return
    ratios = after[present] / before[present]
    are_unit = np.abs(before[present] - 1).max() < _UNIT_ROUNDING
    usual = float(np.median(ratios))
    farthest = float(ratios[np.abs(ratios - 1).argmax()])
    if are_unit and abs(farthest - 1) > _LARGEST_UNIT_ERROR:
        raise ValueError(f"{what} has a vector of length {farthest:.3g}, but the source's have 1")
    if not 1 / _LARGEST_RATIO < usual < _LARGEST_RATIO:
        raise ValueError(f"{what} has vectors of {usual:.3g} times the length of the source's")
