"""The files that this process has mapped; see proc_pid_maps(5)."""

import ctypes
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path


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


def advise(files: Collection[str], advice: int) -> None:
    """Tells the kernel how files (paths without links) will be read, as madvise(2) does."""
    for part in mapped_ranges(files):
        size = ctypes.c_size_t(part.end - part.start)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(part.start), size, advice)
