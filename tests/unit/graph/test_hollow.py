"""Graphs without their weights."""

from pathlib import Path

import numpy as np
import onnxruntime

from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.onnx_file import read_model, write_model
from support.graphs import table_and_products


def test_a_hollow_model_gets_its_weights_back(tmp_path: Path) -> None:
    write_model(table_and_products(), tmp_path / "model.onnx")
    proto, weights = hollow_out(read_model(tmp_path / "model.onnx"))
    assert set(weights) == {"table", "square", "gemm"}
    assert len(proto.SerializeToString()) < 3000
    write_model(fill(proto, weights), tmp_path / "again.onnx")
    before, after = (
        onnxruntime.InferenceSession(str(path)).run(None, {"ids": np.arange(9)})[0]
        for path in (tmp_path / "model.onnx", tmp_path / "again.onnx")
    )
    np.testing.assert_array_equal(before, after)
