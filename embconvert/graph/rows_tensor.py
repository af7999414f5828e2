"""Tensors that are computed a few rows at a time, where whole they would take much memory.

The table of a large vocabulary is a half of many models, and larger than all else together that a
stage holds at a time.
"""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir  # noqa: TID253 - only functions import this module


class RowsTensor(ir.LazyTensor):  # type: ignore[misc]
    """A tensor that is computed when it is looked at, as much of it as is looked at.

    Args:
        rows: Returns some rows as an array.
        dtype: Of its elements.
        shape: Its shape, one axis at least.
        name: Its name.
    """

    def __init__(
        self, rows: Callable[[slice], Any], dtype: ir.DataType, *, shape: ir.Shape, name: str
    ) -> None:
        super().__init__(lambda: ir.Tensor(rows(slice(None))), dtype, shape=shape, name=name)
        self.rows = rows
