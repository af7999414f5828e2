"""Tensors that lie in a file, all of which share one mapping of it.

onnx_ir's own map the whole file once for each tensor. When memory runs short, the kernel looks at
every mapping of a page before it takes the page back (rmap_walk), and with hundreds of them that
took a tenth of the processor time of a conversion under a limit.
"""

import mmap
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir  # noqa: TID253 - only functions import this module

#: Narrower elements share a byte, which onnx_ir takes apart.
_BYTE_BITS = 8


class MappedFile:
    """A file that is mapped when somebody first looks; it must not change from then on."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @cached_property
    def content(self) -> mmap.mmap:
        """All of it, read only."""
        with self.path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class MappedTensor(ir.ExternalTensor):  # type: ignore[misc]
    """A tensor in such a file.

    Args:
        file: The file.
        offset: In bytes.
        length: In bytes.
        dtype: Of its elements.
        shape: Its shape.
        name: Its name.
    """

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
        # No base folder: containment is for locations that a file names itself.
        super().__init__(str(file.path), offset, length, dtype, shape=shape, name=name)
        self._file = file

    def numpy(self) -> Any:
        """Returns the tensor as an array that is mapped."""
        if self.dtype.bitwidth < _BYTE_BITS:
            return super().numpy()
        kind = np.dtype(self.dtype.numpy()).newbyteorder("<")
        shape = self.shape.numpy()
        if not self.size:
            return np.empty(shape, kind)
        return np.frombuffer(self._file.content, kind, self.size, self.offset).reshape(shape)

    def rows(self, which: slice) -> Any:
        """Returns some of its rows; only those are read."""
        return self.numpy()[which]

    def __array__(self, dtype: Any = None) -> Any:
        """Returns numpy() in a type."""
        return self.numpy().__array__(dtype)

    def tobytes(self) -> bytes:
        """Returns its bytes as they lie in the file."""
        return bytes(memoryview(self._file.content)[self.offset :][: self.nbytes])
