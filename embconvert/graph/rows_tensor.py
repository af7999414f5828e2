"""Tensors that are computed a few rows at a time, to save memory.

The table of a large vocabulary is half of many models, and would be the largest object in memory.
"""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir  # noqa: TID253 - only functions import this module


class RowsTensor(ir.LazyTensor):  # type: ignore[misc]
    """A tensor of at least one axis, whose rows are computed when they are used."""

    def __init__(
        self, rows: Callable[[slice], Any], dtype: ir.DataType, *, shape: ir.Shape, name: str
    ) -> None:
        super().__init__(lambda: ir.Tensor(rows(slice(None))), dtype, shape=shape, name=name)
        self.rows = rows
