"""Writing a file past the page cache, where that could not hold it.

What is written through the cache is copied into fresh pages, which are taken back soon when memory
is short; that takes more processor time than the disk takes to write it (time `dd` with and without
`oflag=direct` under a limit). See open(2), O_DIRECT. With memory to spare the cache is the better
place: the next stage finds the file there, and nobody waits for a slow disk.
"""

import errno
import fcntl
import io
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from embconvert.processes.resources import available_memory_bytes

# A file above this share of the memory would be gone from the cache when it is read again, for it
# shares the cache with what it is made of.
_CACHED_SHARE = 1 / 4
# Of a multiple of every disk's block, aligned likewise; a small one stays in the processor's cache.
_BUFFER_BYTES = 1 << 22
_BUFFERS = 4


def open_to_write(path: Path, size_bytes: int) -> BinaryIO:
    """Opens a new file.

    Args:
        path: The file.
        size_bytes: About what it will have.
    """
    if size_bytes <= available_memory_bytes() * _CACHED_SHARE:
        return path.open("wb")
    return cast(BinaryIO, _Uncached(path))


class _Uncached(io.RawIOBase):
    """A file that goes past the page cache, where its file system can do that.

    What is written may have to be read from the disk first; that and the writing take turns.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._thread = ThreadPoolExecutor(1)
        self._writing: deque[Future[None]] = deque()
        self._buffers = deque(
            np.frombuffer(mmap.mmap(-1, _BUFFER_BYTES), np.uint8) for _ in range(_BUFFERS)
        )
        self._filled = 0
        with suppress(OSError):
            self._go_past_the_cache(True)

    def write(self, data: Any) -> int:
        """Writes a contiguous buffer, whole; what goes wrong may be raised by a later call."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            part = left[: _BUFFER_BYTES - self._filled]
            # numpy lets other threads run while it copies, and perhaps waits for the disk.
            self._buffers[0][self._filled : self._filled + len(part)] = np.asarray(part)
            self._filled += len(part)
            left = left[len(part) :]
            if self._filled == _BUFFER_BYTES:
                self._begin_writing()
        return size

    def close(self) -> None:
        """Writes what is left; again is no error."""
        if self.closed:
            return
        try:
            with self._thread:
                self._wait(0)
                self._go_past_the_cache(False)  # for what is no whole block
                self._begin_writing()
                self._wait(0)
        finally:
            self._file.close()
            super().close()

    def _begin_writing(self) -> None:
        full = self._buffers[0].data[: self._filled]
        self._writing.append(self._thread.submit(self._write_all, full))
        self._wait(_BUFFERS - 1)
        self._buffers.rotate(-1)
        self._filled = 0

    def _wait(self, most: int) -> None:
        """Waits until so many buffers at most are being written."""
        while len(self._writing) > most:
            self._writing.popleft().result()

    def _write_all(self, data: memoryview) -> None:
        while data:
            try:
                data = data[self._file.write(data) :]
            except OSError as error:
                # The disk's blocks are larger than ours, or the file system promised too much.
                if error.errno != errno.EINVAL or not self._goes_past_the_cache:
                    raise
                self._go_past_the_cache(False)

    @property
    def _goes_past_the_cache(self) -> bool:
        return bool(fcntl.fcntl(self._file, fcntl.F_GETFL) & os.O_DIRECT)

    def _go_past_the_cache(self, wanted: bool) -> None:
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags)
