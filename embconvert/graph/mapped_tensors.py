"""Tensors in a file that share a single memory mapping.

onnx_ir's tensors map the whole file once per tensor. If memory is short, the kernel checks every
mapping of a page before it reclaims the page (rmap_walk), and hundreds of mappings took a tenth of
the CPU time of a conversion under a limit.
"""

import mmap
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir  # noqa: TID253 - only functions import this module

#: onnx_ir unpacks narrower elements.
_BYTE_BITS = 8


class MappedFile:
    """A file that is mapped at the first access; it must not change. `name` is the graph's."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path.absolute()
        self.name = name or path.name

    @cached_property
    def content(self) -> mmap.mmap:
        """The whole file, read only."""
        with self.path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class MappedTensor(ir.ExternalTensor):  # type: ignore[misc]
    """A tensor in such a file; offset and length are in bytes."""

    def __init__(
        self,
        file: MappedFile,
        *,
        offset: int,
        length: int | None,
        dtype: ir.DataType,
        shape: ir.Shape,
        name: str,
    ) -> None:
        # No base folder: the location does not come from the file.
        super().__init__(str(file.path), offset, length, dtype, shape=shape, name=name)
        self._file = file

    @property
    def file_name(self) -> str:
        """What the graph calls the file."""
        return self._file.name

    def numpy(self) -> Any:
        """Returns the tensor as a mapped array."""
        if self.dtype.bitwidth < _BYTE_BITS:
            return super().numpy()
        kind = np.dtype(self.dtype.numpy()).newbyteorder("<")
        shape = self.shape.numpy()
        if not self.size:
            return np.empty(shape, kind)
        return np.frombuffer(self._file.content, kind, self.size, self.offset).reshape(shape)

    def rows(self, which: slice) -> Any:
        """Returns some rows; only those are read."""
        return self.numpy()[which]

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy().__array__(dtype)

    def tobytes(self) -> bytes:
        """Returns the bytes as in the file."""
        return bytes(memoryview(self._file.content)[self.offset :][: self.nbytes])
