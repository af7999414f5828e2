"""Writes large tensors, overlapping computation with disk access."""

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

# Hashing less is faster than starting a thread.
_SHORT_BYTES = 1 << 20
# Size of parts of a tensor; glibc reuses freed memory for it.
_PART_BYTES = 1 << 24


class HashingFile:
    """A file whose sha256 is computed while it is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Any) -> None:
        """Writes bytes or a contiguous buffer; a large one is hashed during the write."""
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
        """Writes so many bytes from bytes_ahead(), which are those of the next tensor."""
        end = self.size_bytes + size_bytes
        while self.size_bytes < end:
            self.write(next(parts))

    @property
    def sha256(self) -> str:
        """Of the bytes written so far, in hex."""
        return self._digest.hexdigest()


def hash_file(path: Path) -> str:
    """Returns the sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def row_reader(tensor: "ir.TensorProtocol") -> Callable[[slice], Any] | None:
    """Returns a function that reads only some rows of a tensor, or None."""
    in_whole_bytes = len(tensor.shape) > 0 and tensor.dtype.bitwidth >= 8
    return getattr(tensor, "rows", None) if in_whole_bytes else None


def _bytes_of(tensor: "ir.TensorProtocol") -> memoryview:
    """Returns a tensor's little-endian bytes; materializes it, once."""
    # Not bfloat16, float8 and packed types, which numpy does not have.
    if tensor.dtype.numpy().kind in "fiub":
        array = tensor.numpy()
        if array.dtype.byteorder in "=|<":
            return _flat(array)
    return memoryview(tensor.tobytes())


def _flat(array: Any) -> memoryview:
    flat: memoryview = contiguous(array).reshape(-1).view(np.uint8).data
    return flat


def _parts_of(tensor: "ir.TensorProtocol", part_bytes: int) -> Iterator[Callable[[], memoryview]]:
    """Yields functions that return a tensor's bytes, part by part."""
    rows = row_reader(tensor)
    if rows is None or tensor.nbytes <= part_bytes:
        yield lambda: _bytes_of(tensor)
        return
    count = int(tensor.shape.numpy()[0])
    step = max(1, count * part_bytes // tensor.nbytes)
    for start in range(0, count, step):
        yield partial(_bytes_of_rows, rows, slice(start, start + step))


def _bytes_of_rows(rows: Callable[[slice], Any], which: slice) -> memoryview:
    return _flat(rows(which))


def bytes_ahead(
    tensors: "Iterable[ir.TensorProtocol]", part_bytes: int = _PART_BYTES
) -> Iterator[memoryview]:
    """Yields tensors' little-endian bytes; tensors larger than a part in whole rows.

    Each part is computed while the previous one is written.
    """
    with ThreadPoolExecutor(1) as thread:
        coming: deque[Future[memoryview]] = deque()
        for make in (make for tensor in tensors for make in _parts_of(tensor, part_bytes)):
            coming.append(thread.submit(make))
            if len(coming) > 1:
                yield coming.popleft().result()
        for last in coming:
            yield last.result()
