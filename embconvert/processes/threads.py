"""Work on large arrays on every CPU: numpy and hashlib let others run meanwhile."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embconvert.processes.resources import cpus

T = TypeVar("T")
R = TypeVar("R")

#: Elements of float32 that stay in a processor's cache, with the copies that are made of them.
CHUNK = 1 << 18


def on_all_cpus(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Returns what a function makes of each item; it must hold the interpreter's lock little.

    Raises:
        Exception: The function raised it.
    """
    with ThreadPoolExecutor(cpus()) as threads:
        return list(threads.map(work, items))


def on_rows(work: Callable[[slice], R], shape: Sequence[int]) -> list[R]:
    """Returns what a function makes of each few rows of an array, on all CPUs.

    Args:
        work: As of on_all_cpus; gets which rows.
        shape: Of the array, the rows first.
    """
    rows = shape[0]
    step = max(1, CHUNK // max(1, math.prod(shape[1:])))
    return on_all_cpus(work, [slice(n, min(n + step, rows)) for n in range(0, rows, step)])
