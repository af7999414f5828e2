"""Writing large tensors: nothing waits for the disk that could be done meanwhile."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from embconvert.graph.layout import contiguous

if TYPE_CHECKING:
    import onnx_ir as ir

# What is sooner hashed than a thread is started.
_SHORT_BYTES = 1 << 20


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

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()


def hash_file(path: Path) -> str:
    """Returns the hex sha256 of a file, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bytes_of(tensor: "ir.TensorProtocol") -> memoryview:
    """Returns a tensor's little-endian bytes; materializes it."""
    array = tensor.numpy()
    if array.dtype.kind in "fiub" and array.dtype.byteorder in "=|<":
        flat: memoryview = contiguous(array).reshape(-1).view(np.uint8).data
        return flat
    # bfloat16, float8 and packed types, which numpy has no native type for
    return memoryview(tensor.tobytes())


def bytes_ahead(tensors: "Iterable[ir.TensorProtocol]") -> Iterator[memoryview]:
    """Yields tensors' little-endian bytes; each is materialized while the one before is written."""
    with ThreadPoolExecutor(1) as thread:
        coming: deque[Future[memoryview]] = deque()
        for tensor in tensors:
            coming.append(thread.submit(_bytes_of, tensor))
            if len(coming) > 1:
                yield coming.popleft().result()
        for last in coming:
            yield last.result()
