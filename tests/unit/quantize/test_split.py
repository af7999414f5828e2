"""Channels that would cost the others their precision are split off."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.quantize import QUANTIZERS
from embconvert.quantize.channels import Channels
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.split import without_outliers
from support.graphs import two_layers

RANDOM = np.random.default_rng(0)
PRECISIONS = (Precision.QINT8, Precision.QINT8_STATIC)


def channels(*peaks: float) -> Channels:
    highest = np.ones(640, np.float32)
    highest[: len(peaks)] = peaks
    none = np.zeros(640, np.float32)
    return Channels(mean=none, squares=highest**2, lowest=none, highest=highest)


def test_channels_are_split_off_that_reach_twice_as_far_as_all_others() -> None:
    found = without_outliers(channels(5, 1.9, 3), None)
    assert found is not None
    assert np.flatnonzero(np.isinf(found)).tolist() == [0, 2]
    assert set(found[~np.isinf(found)]) == {1}
    assert without_outliers(channels(1.9), None) is None
    # Too many are no outliers.
    assert without_outliers(channels(*[5.0] * 11), None) is None


def test_a_channel_that_was_made_smaller_is_no_outlier_any_more() -> None:
    factors = np.ones(640, np.float32)
    factors[0] = 5
    assert without_outliers(channels(5), factors) is factors


@pytest.mark.parametrize("precision", PRECISIONS)
def test_split_channels_leave_the_others_their_precision(
    precision: Precision, tmp_path: Path
) -> None:
    square = RANDOM.standard_normal((64, 64), dtype=np.float32) / np.float32(8)
    square[7] = 0
    x = RANDOM.standard_normal((1, 200, 64), dtype=np.float32)
    x[..., 7] *= 100
    source = write_model(two_layers(square), tmp_path / "a.onnx").path
    feed: dict[str, Any] = {"x": x, "attention_mask": np.ones((1, 200), np.int64)}

    def error(*recipes: Recipe) -> float:
        settings = QuantizeSettings(
            options=QuantizeOptions(recipes=recipes),
            calibration=lambda *_: iter([feed]),
            work=tmp_path,
        )
        path = write_model(QUANTIZERS[precision](source, settings), tmp_path / "b.onnx").path
        ours, theirs = (
            np.asarray(onnxruntime.InferenceSession(str(p)).run(None, {"x": x})[0])
            for p in (path, source)
        )
        return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))

    assert error(Recipe.SPLIT) < 0.1 * error()
