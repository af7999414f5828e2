"""The files that this process has mapped; see proc_pid_maps(5) and proc_pid_pagemap(5)."""

import ctypes
import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Of a page: it is in memory, it is swapped out, it is the file's and not a copy of ours.
_PRESENT, _SWAPPED, _OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
_COMPARED_AT_ONCE = 1 << 20
_PAGES = Path("/proc/self/pagemap")


@dataclass(frozen=True)
class MappedRange:
    """A mapped part of a file: addresses, the last one excluded, and bytes into the file."""

    start: int
    end: int
    offset: int
    path: str


def mapped_ranges(files: Collection[str]) -> Iterator[MappedRange]:
    """Yields the mapped parts of files (paths without links); none where there is no /proc."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text("utf-8", "surrogateescape").splitlines() if maps.exists() else ():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in files:
            start, end = (int(number, 16) for number in fields[0].split("-"))
            yield MappedRange(start, end, int(fields[2], 16), fields[5])


def is_unchanged(
    part: MappedRange, address: int, nbytes: int, *, pages_file: Path = _PAGES
) -> bool:
    """Whether memory in a mapped part has what its file has.

    A library may write to weights that it has mapped, as funnel's of transformers does to the row
    of the pad token: the kernel gives the process a copy of the page then.

    Args:
        pages_file: Says of each page whether it is such a copy; bytes are compared without it.
    """
    if not nbytes:
        return True
    first, last = address // mmap.PAGESIZE, (address + nbytes - 1) // mmap.PAGESIZE
    try:
        with pages_file.open("rb") as pages:
            pages.seek(8 * first)
            found = np.frombuffer(pages.read(8 * (last - first + 1)), np.uint64)
    except OSError:
        found = np.empty(0, np.uint64)
    if len(found) != last - first + 1:  # some sandboxes do not tell
        return _has_bytes_of_file(part, address, nbytes)
    ours = (found & (_PRESENT | _SWAPPED) != 0) & (found & _OF_FILE == 0)
    return not ours.any() or _has_bytes_of_file(part, address, nbytes)


def _has_bytes_of_file(part: MappedRange, address: int, nbytes: int) -> bool:
    with Path(part.path).open("rb") as file:
        file.seek(part.offset + address - part.start)
        for start in range(0, nbytes, _COMPARED_AT_ONCE):
            size = min(_COMPARED_AT_ONCE, nbytes - start)
            if file.read(size) != ctypes.string_at(address + start, size):
                return False
    return True


def advise(files: Collection[str], advice: int) -> None:
    """Tells the kernel how files (paths without links) will be read, as madvise(2) does."""
    for part in mapped_ranges(files):
        size = ctypes.c_size_t(part.end - part.start)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(part.start), size, advice)
