"""What recipes ask of a graph's values; a large model runs once for all of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from graphs import table_and_products

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import QuantizeOptions
from embconvert.quantize import observed
from embconvert.quantize.observed import channel_sums, peaks
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

IDS = np.arange(40, dtype=np.int64)


@pytest.fixture(params=[False, True], ids=["small", "large"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setattr(observed, "affordable_tokens", lambda _: 64)
    return bool(request.param)


def test_a_large_model_runs_once(tmp_path: Path, large: bool) -> None:
    path = write_model(table_and_products(), tmp_path / "a.onnx").path
    asked: list[int | None] = []

    def calibration(inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        assert "attention_mask" in inputs
        asked.append(tokens)
        yield {"ids": IDS, "attention_mask": np.ones_like(IDS)}

    settings = QuantizeSettings(
        options=QuantizeOptions(), calibration=calibration, work=tmp_path / "work"
    )
    settings.work.mkdir()
    largest, sums = peaks(Surgery(path), settings), channel_sums(Surgery(path), settings)
    again = peaks(Surgery(path), settings)
    assert asked == [64] if large else len(asked) == 3
    assert again == largest

    products = Surgery(path).products()
    first = products[0].activation
    table = Surgery(path).hollow_weights["table"].numpy()[IDS]
    assert sums.keys() == {product.activation for product in products}
    assert sums[first].rows == len(IDS)
    np.testing.assert_allclose(sums[first].sums, [table.sum(axis=0), (table**2).sum(axis=0)])
    np.testing.assert_array_equal(sums[first].ends[1], np.maximum(table.max(axis=0), 0))
    y = onnxruntime.InferenceSession(str(path)).run(None, {"ids": IDS})[0]
    assert largest["y"] == pytest.approx(np.abs(y).max(), rel=1e-5)
