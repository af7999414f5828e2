"""Memory layouts of arrays, for files and kernels."""

from typing import Any

import numpy as np

from embconvert.processes.threads import on_all_cpus

# Tile of a transposed matrix that is copied at once: numpy's copy would miss the cache at every
# element.
_ROWS, _COLUMNS = 1024, 64
# If a matrix's width is a power of two, a column's elements compete for the same few cache lines
# (https://en.algorithmica.org/hpc/cpu-cache/associativity/). So the tile is copied to a buffer
# whose lines are this much longer.
_LINE_BYTES = 64


def contiguous(array: Any) -> Any:
    """Returns an array with contiguous last axis, copied only if necessary."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)

    def copy_rows(start: int) -> None:
        rows = slice(start, start + _ROWS)
        copy_transposed(array[rows].T, copy[rows])

    on_all_cpus(copy_rows, range(0, array.shape[0], _ROWS))
    return copy


def copy_transposed(source: Any, target: Any) -> None:
    """Copies (m, n) to (n, m), both with contiguous rows, on the calling thread."""
    padding = _LINE_BYTES // source.itemsize
    lines = np.empty((_COLUMNS, min(_ROWS, source.shape[1]) + padding), source.dtype)
    for row in range(0, source.shape[0], _COLUMNS):
        for column in range(0, source.shape[1], _ROWS):
            tile = source[row : row + _COLUMNS, column : column + _ROWS]
            aside = lines[: tile.shape[0], : tile.shape[1]]
            aside[...] = tile
            target[column : column + _ROWS, row : row + _COLUMNS] = aside.T
