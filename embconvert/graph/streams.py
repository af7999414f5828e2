"""Writing large tensors: nothing waits for the disk that could be done meanwhile."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from embconvert.graph.layout import contiguous

if TYPE_CHECKING:
    import onnx_ir as ir

# What is sooner hashed than a thread is started.
_SHORT_BYTES = 1 << 20
# Of a tensor that is made in parts; what glibc takes from the memory that was freed before.
_PART_BYTES = 1 << 24


class HashingFile:
    """A file being written whose sha256 is computed on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Any) -> None:
        """Writes bytes or any contiguous buffer; a large one is hashed while the disk takes it."""
        self.size_bytes += len(data)
        if len(data) < _SHORT_BYTES:
            self._digest.update(data)
            self._stream.write(data)
            return
        hashing = threading.Thread(target=self._digest.update, args=(data,))
        hashing.start()
        try:
            self._stream.write(data)
        finally:
            hashing.join()

    def write_next(self, parts: Iterator[memoryview], size_bytes: int) -> None:
        """Writes so many bytes of what bytes_ahead() yields: those of the next tensor."""
        end = self.size_bytes + size_bytes
        while self.size_bytes < end:
            self.write(next(parts))

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()


def hash_file(path: Path) -> str:
    """Returns the hex sha256 of a file, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def rows_of(tensor: "ir.TensorProtocol") -> Callable[[slice], Any] | None:
    """Returns what gives some rows of a tensor without the others; None where nothing does."""
    in_whole_bytes = len(tensor.shape) > 0 and tensor.dtype.bitwidth >= 8
    return getattr(tensor, "rows", None) if in_whole_bytes else None


def _bytes_of(tensor: "ir.TensorProtocol") -> memoryview:
    """Returns a tensor's little-endian bytes; materializes it."""
    array = tensor.numpy()
    if array.dtype.kind in "fiub" and array.dtype.byteorder in "=|<":
        return _flat(array)
    # bfloat16, float8 and packed types, which numpy has no native type for
    return memoryview(tensor.tobytes())


def _flat(array: Any) -> memoryview:
    flat: memoryview = contiguous(array).reshape(-1).view(np.uint8).data
    return flat


def _parts_of(tensor: "ir.TensorProtocol") -> Iterator[Callable[[], memoryview]]:
    """Yields what makes a tensor's bytes, a part after the other."""
    rows = rows_of(tensor)
    if rows is None or tensor.nbytes <= _PART_BYTES:
        yield lambda: _bytes_of(tensor)
        return
    count = int(tensor.shape.numpy()[0])
    step = max(1, count * _PART_BYTES // tensor.nbytes)
    for start in range(0, count, step):
        yield partial(_bytes_of_rows, rows, slice(start, start + step))


def _bytes_of_rows(rows: Callable[[slice], Any], which: slice) -> memoryview:
    return _flat(rows(which))


def bytes_ahead(tensors: "Iterable[ir.TensorProtocol]") -> Iterator[memoryview]:
    """Yields tensors' little-endian bytes, those of large ones in parts.

    Each is made while the one before is written.
    """
    with ThreadPoolExecutor(1) as thread:
        coming: deque[Future[memoryview]] = deque()
        for make in (make for tensor in tensors for make in _parts_of(tensor)):
            coming.append(thread.submit(make))
            if len(coming) > 1:
                yield coming.popleft().result()
        for last in coming:
            yield last.result()
