"""Work on large arrays on every CPU: numpy and hashlib let others run meanwhile."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embconvert.processes.resources import cpus

T = TypeVar("T")
R = TypeVar("R")


def on_all_cpus(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Returns what a function makes of each item; it must hold the interpreter's lock little.

    Raises:
        Exception: The function raised it.
    """
    with ThreadPoolExecutor(cpus()) as threads:
        return list(threads.map(work, items))
