"""What can be done to weights before they become 8-bit integers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.graph.onnx_file import read_model, write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.models.values import KeptNode
from embconvert.quantize import QUANTIZERS
from embconvert.quantize.settings import QuantizeSettings
from support.graphs import table_and_products

RANDOM = np.random.default_rng(0)
PRECISIONS = (Precision.QINT8, Precision.QINT8_STATIC)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_suffers_most_stays_float32_and_is_noted(precision: Precision, tmp_path: Path) -> None:
    """Of the products, the Gemm is small enough for the budget, and others are not."""
    model = table_and_products()
    source = write_model(model, tmp_path / "a.onnx").path
    ids = np.arange(300, dtype=np.int64)
    feed: dict[str, Any] = {"ids": ids, "attention_mask": np.ones((300, 1), np.int64)}
    kept: list[KeptNode] = []
    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=(Recipe.MIXED,)),
        calibration=lambda *_: iter([feed]),
        work=tmp_path,
        keep=kept.append,
    )
    path = write_model(QUANTIZERS[precision](source, settings), tmp_path / "b.onnx").path
    assert kept == []
    assert "gemm" not in read_model(path).graph.initializers
    more = replace(settings, float32_share=0.3)
    path = write_model(QUANTIZERS[precision](source, more), tmp_path / "b.onnx").path
    assert [node.operator for node in kept] == ["Gemm"]
    assert "of their energy" in kept[0].reason
    assert "gemm" in read_model(path).graph.initializers
