"""Texts in a scratch file, so that a corpus need not fit into memory."""

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from embconvert.overriding import override

#: Texts that are in memory at a time, sorted by length into batches.
WINDOW_TEXTS = 1024
_WINDOW_BYTES = 1 << 25


class StoredTexts(Sequence[str]):
    """Texts that are appended to a file, which is overwritten, and read by number."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._ends = array("Q", [0])

    def append(self, text: str) -> int:
        """Appends a text and returns its number."""
        content = text.encode("utf-8")
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))
        return len(self._ends) - 2

    @override
    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    @override
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        self._file.flush()
        start, end = self._ends[number], self._ends[number + 1]
        return os.pread(self._file.fileno(), end - start, start).decode("utf-8")

    def windows(self) -> Iterator[range]:
        """Yields the numbers of all texts in parts that fit into memory."""
        start = 0
        for number in range(1, len(self) + 1):
            is_full = number - start == WINDOW_TEXTS
            if (
                is_full
                or number == len(self)
                or self._ends[number + 1] - self._ends[start] > _WINDOW_BYTES
            ):
                yield range(start, number)
                start = number
