"""Memory that is mapped from a file, and what was written to it."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.processes.mappings import is_unchanged, mapped_ranges

PAGES = 5


class Mapped:
    """A file of five pages, mapped for this process alone."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.file = (folder / "weights").resolve()
        self.file.write_bytes(bytes(range(256)) * (PAGES * mmap.PAGESIZE // 256))
        self.array: Any = np.memmap(self.file, np.uint8, "c")
        self._how = how

    def is_unchanged(self, first: int, last: int) -> bool:
        (part,) = mapped_ranges({str(self.file)})
        return is_unchanged(part, self.array.ctypes.data + first, last - first, **self._how)


@pytest.fixture(params=["by pages", "by bytes"])
def mapped(request: pytest.FixtureRequest, tmp_path: Path) -> Mapped:
    """With the kernel's help and without."""
    by_pages = request.param == "by pages"
    return Mapped(tmp_path, **({} if by_pages else {"pages_file": tmp_path / "missing"}))


def test_what_was_only_read_is_as_in_the_file(mapped: Mapped) -> None:
    assert mapped.is_unchanged(0, len(mapped.array))
    assert mapped.array.sum(dtype=np.int64) > 0
    assert mapped.is_unchanged(0, len(mapped.array))
    assert mapped.is_unchanged(7, 7)


def test_a_changed_byte_is_found_in_its_part_only(mapped: Mapped) -> None:
    place = 2 * mmap.PAGESIZE + 11
    mapped.array[place] += 1
    assert not mapped.is_unchanged(0, len(mapped.array))
    assert not mapped.is_unchanged(place, place + 1)
    assert mapped.is_unchanged(0, place)
    assert mapped.is_unchanged(place + 1, len(mapped.array))


def test_what_was_written_as_it_was_counts_as_unchanged(mapped: Mapped) -> None:
    mapped.array[10] = int(mapped.array[10])
    assert mapped.is_unchanged(0, len(mapped.array))
