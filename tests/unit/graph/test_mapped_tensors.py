"""Tensors that stay in their file."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from embconvert.graph.mapped_tensors import MappedFile, MappedTensor
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.graph.streams import bytes_ahead
from support.graphs import table_and_products


@pytest.mark.parametrize("threshold", [0, 1 << 30])
def test_all_weights_of_a_file_share_one_mapping(threshold: int, tmp_path: Path) -> None:
    write_model(table_and_products(), tmp_path / "a.onnx", external_data_threshold_bytes=threshold)
    tensors = [v.const_value for v in read_model(tmp_path / "a.onnx").graph.initializers.values()]
    arrays = [t.numpy() for t in tensors if isinstance(t, MappedTensor)]
    maps = Path("/proc/self/maps").read_text()
    assert len(arrays) == 3
    assert maps.count(f"{tmp_path}/a.onnx") == 1


@pytest.mark.parametrize("kind", [ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.INT4])
def test_a_mapped_tensor_of_any_type_is_written_as_it_lies(
    kind: ir.DataType, tmp_path: Path
) -> None:
    content = np.random.default_rng(0).bytes(8192)
    (tmp_path / "weights").write_bytes(content)
    tensor = MappedTensor(
        MappedFile(tmp_path / "weights"),
        offset=64, length=4096, dtype=kind, shape=ir.Shape([4096 * 8 // kind.bitwidth]), name="w",
    )  # fmt: skip
    assert tensor.tobytes() == b"".join(bytes_ahead([tensor])) == content[64 : 64 + 4096]
    assert tensor.numpy().shape == tuple(tensor.shape)
