"""Processes large arrays on all CPUs: numpy and hashlib release the interpreter's lock."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embconvert.processes.resources import cpus

T = TypeVar("T")
R = TypeVar("R")

#: Number of float32 elements that fit in a processor's cache, with a few copies.
CHUNK = 1 << 18


def on_all_cpus(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Applies a function that rarely holds the interpreter's lock to each item, in threads."""
    with ThreadPoolExecutor(cpus()) as threads:
        return list(threads.map(work, items))


def on_rows(work: Callable[[slice], R], shape: Sequence[int], chunk: int = CHUNK) -> list[R]:
    """Applies a function to ranges of an array's rows, of about `chunk` elements, on all CPUs."""
    rows = shape[0]
    step = max(1, chunk // max(1, math.prod(shape[1:])))
    return on_all_cpus(work, [slice(n, min(n + step, rows)) for n in range(0, rows, step)])
