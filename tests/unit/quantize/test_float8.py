"""Eight-bit floating-point weights, and the operator set that they need."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.graph.onnx_file import read_artifact, write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize import quantize
from embconvert.quantize.float8 import rounded
from embconvert.quantize.settings import QuantizeSettings
from support.graphs import table_and_products

RANDOM = np.random.default_rng(0)
IDS = np.arange(300, dtype=np.int64)


def no_calibration(inputs: list[str], tokens: int | None = None) -> Any:
    del inputs, tokens
    raise AssertionError("only weights are looked at")


def quantized(folder: Path, source: Path, **options: bool) -> Path:
    settings = QuantizeSettings(
        options=QuantizeOptions(per_channel=options.get("per_channel", True)),
        calibration=no_calibration,
        work=folder,
    )
    path = folder / "float8.onnx"
    quantize(
        read_artifact(source),
        path,
        precision=Precision.QFLOAT8,
        settings=settings,
    )
    return path


@pytest.mark.parametrize("per_channel", [True, False])
def test_products_are_right_and_weights_have_the_type(per_channel: bool, tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx").path
    path = quantized(tmp_path, source, per_channel=per_channel)
    ours, theirs = (
        np.asarray(onnxruntime.InferenceSession(str(p)).run(None, {"ids": IDS})[0])
        for p in (path, source)
    )
    assert (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
    kinds = {t.name: t.data_type for t in onnx.load(str(path)).graph.initializer}
    assert kinds["square_columns_quantized"] == onnx.TensorProto.FLOAT8E4M3FN
    assert kinds["gemm_rows_quantized"] == onnx.TensorProto.FLOAT8E4M3FN
    assert kinds["table_rows_table_quantized"] == onnx.TensorProto.INT8


def test_a_weight_is_off_by_a_sixteenth_at_most() -> None:
    weights = RANDOM.standard_normal((8, 512), dtype=np.float32)
    numbers, scales = rounded(weights, per_channel=True)
    back = numbers.astype(np.float32).T * scales[:, None]
    large = np.abs(weights) > 0.01
    assert (np.abs(back - weights) / np.abs(weights))[large].max() <= 1 / 16
    np.testing.assert_allclose(np.abs(back).max(axis=1), np.abs(weights).max(axis=1), rtol=1e-6)


def test_a_graph_of_such_weights_is_quantized_already(tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx").path
    path = quantized(tmp_path, source).rename(tmp_path / "b.onnx")
    with pytest.raises(
        UnsupportedModelError, match="already quantized: it has float8e4m3fn weights"
    ):
        quantized(tmp_path, path)
