"""The files that this process has mapped, as the kernel tells: proc_pid_maps(5)."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MappedRange:
    """A part of a file that is mapped.

    Attributes:
        start: Its first address.
        end: The address behind its last.
        offset: In the file, in bytes.
        path: Of the file.
    """

    start: int
    end: int
    offset: int
    path: str


def mapped_ranges(suffix: str) -> Iterator[MappedRange]:
    """Yields what is mapped of files whose names end so; nothing where there is no /proc."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text(encoding="utf-8").splitlines() if maps.exists() else ():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].endswith(suffix):
            start, end = (int(number, 16) for number in fields[0].split("-"))
            yield MappedRange(start, end, int(fields[2], 16), fields[5])


def advise(suffix: str, advice: int) -> None:
    """Tells the kernel how files whose names end so will be read: a constant of madvise(2)."""
    for part in mapped_ranges(suffix):
        size = ctypes.c_size_t(part.end - part.start)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(part.start), size, advice)
