"""Reading weights from the disk before they are needed."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from embconvert.graph.source_tensors import marked

if TYPE_CHECKING:
    import onnx_ir as ir


def read_ahead(weights: "Iterable[ir.TensorProtocol]") -> None:
    """Has the kernel read weights while something else is done; see posix_fadvise(2).

    What is in memory already costs nothing.

    Args:
        weights: Those that lie in no file are left out.
    """
    import onnx_ir as ir

    for weight in weights:
        place = marked(weight)
        if place is not None:
            file, offset, size = place.file, place.offset, place.nbytes
        elif isinstance(weight, ir.ExternalTensor):
            file, offset, size = str(weight.location), weight.offset or 0, weight.nbytes
        else:
            continue
        with suppress(OSError):  # whoever reads it finds out what is wrong
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)
