"""Large tensors are hashed and written in parts."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from embconvert.graph.half_precision import half_weight
from embconvert.graph.mapped_tensors import MappedFile, MappedTensor
from embconvert.graph.rows_tensor import RowsTensor
from embconvert.graph.streams import bytes_ahead

WEIGHT = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 4096


@pytest.mark.parametrize("kind", [ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.INT4])
def test_a_large_mapped_tensor_is_written_in_parts(kind: ir.DataType, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(8192)
    (tmp_path / "weights").write_bytes(content)
    tensor = MappedTensor(
        MappedFile(tmp_path / "weights"),
        offset=0, length=8192, dtype=kind, shape=ir.Shape([64, 128 * 8 // kind.bitwidth]), name="w",
    )  # fmt: skip
    parts = [bytes(part) for part in bytes_ahead([tensor, tensor], part_bytes=1000)]
    assert b"".join(parts) == content * 2
    if kind.bitwidth >= 8:
        assert {len(part) for part in parts} == {7 * 128, 128}


def test_a_tensor_is_computed_a_few_rows_at_a_time() -> None:
    asked: list[slice] = []

    def rows(which: slice) -> Any:
        asked.append(which)
        return WEIGHT[which]

    lazy = RowsTensor(rows, ir.DataType.FLOAT, shape=ir.Shape(WEIGHT.shape), name="weight")
    written = b"".join(bytes_ahead([half_weight("weight", lazy)], part_bytes=1 << 10))
    assert written == WEIGHT.astype(np.float16).tobytes()
    assert asked == [slice(start, start + 8) for start in range(0, 64, 8)]
    np.testing.assert_array_equal(lazy.numpy(), WEIGHT)


@pytest.mark.parametrize("kind", [ir.DataType.FLOAT, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4])
def test_a_lazy_tensor_is_computed_once(kind: ir.DataType) -> None:
    made: list[ir.Tensor] = []

    def compute() -> ir.Tensor:
        made.append(ir.Tensor(np.ones((3, 2), kind.numpy())))
        return made[-1]

    lazy = ir.LazyTensor(compute, kind, ir.Shape([3, 2]), name="w")
    assert sum(map(len, bytes_ahead([lazy]))) == lazy.nbytes
    assert len(made) == 1
