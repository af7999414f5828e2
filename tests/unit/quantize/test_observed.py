"""What recipes ask of a graph's values; a large model runs once for all of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.observed import channel_sums, value_sizes
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery
from support.graphs import table_and_products

IDS = np.arange(40, dtype=np.int64)


@pytest.mark.parametrize("tokens", [64, 1 << 20])
def test_a_large_model_that_can_read_few_tokens_runs_once(tmp_path: Path, tokens: int) -> None:
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
    sizes = value_sizes(Surgery(path), settings, lambda _: tokens)
    sums = channel_sums(Surgery(path), settings, lambda _: tokens)
    again = value_sizes(Surgery(path), settings, lambda _: tokens)
    assert asked == [64] if tokens == 64 else len(asked) == 3
    assert again == sizes

    products = Surgery(path).products()
    first = products[0].activation
    table = Surgery(path).hollow_weights["table"].numpy()[IDS]
    assert sums.keys() == {product.activation for product in products}
    assert sums[first].rows == len(IDS)
    np.testing.assert_allclose(sums[first].sums, [table.sum(axis=0), (table**2).sum(axis=0)])
    np.testing.assert_array_equal(sums[first].ends[1], np.maximum(table.max(axis=0), 0))
    y = onnxruntime.InferenceSession(str(path)).run(None, {"ids": IDS})[0]
    assert sizes.peaks["y"] == pytest.approx(np.abs(y).max(), rel=1e-5)
