"""Arrays in the order in which files and kernels want them."""

from typing import Any

import numpy as np

from embconvert.processes.threads import on_all_cpus

# Rows and columns that are copied at once: what numpy copies whole misses the processor's cache at
# every element of a transposed matrix, and takes more than twice as long.
_ROWS, _COLUMNS = 1024, 64


def contiguous(array: Any) -> Any:
    """Returns an array with its last axis contiguous in memory; a copy only where it is not so."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)

    def copy_rows(row: int) -> None:
        for column in range(0, array.shape[1], _COLUMNS):
            tile = np.s_[row : row + _ROWS, column : column + _COLUMNS]
            copy[tile] = array[tile]

    on_all_cpus(copy_rows, range(0, array.shape[0], _ROWS))
    return copy
