"""Eight bits whose activations' scales were fixed on calibration texts."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import (
    RECIPES,
    CalibrationMethod,
    QuantFormat,
    QuantizeOptions,
    Recipe,
)
from embconvert.quantize.channels import Channels
from embconvert.quantize.ranges import histogram_ranges
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.smooth import smoothing_for_one_scale
from embconvert.quantize.static import static_int8
from embconvert.quantize.surgery import Surgery
from support.graphs import table_and_products, two_layers

RANDOM = np.random.default_rng(0)
IDS = np.arange(300, dtype=np.int64)
ALL = RECIPES[Precision.QINT8_STATIC]


def calibrating(folder: Path, options: QuantizeOptions, **feed: np.ndarray) -> QuantizeSettings:
    """Calibrates on ids, (n,), each a text of its own, or x, (1, n, channels)."""
    shape = feed["x"].shape[:2] if "x" in feed else (len(feed["ids"]), 1)
    mask = {"attention_mask": np.ones(shape, np.int64)}
    return QuantizeSettings(
        options=options, calibration=lambda *_: iter([{**feed, **mask}]), work=folder
    )


def quantized(folder: Path, options: QuantizeOptions) -> tuple[Path, Path]:
    """Writes a graph and its quantized form."""
    source = write_model(table_and_products(), folder / "a.onnx").path
    settings = calibrating(folder, options, ids=IDS)
    return source, write_model(static_int8(source, settings), folder / "b.onnx").path


def run(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(str(path)).run(None, feed)[0])


def cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs))


@pytest.mark.parametrize("recipes", [(), *((recipe,) for recipe in ALL), ALL])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("method", CalibrationMethod)
def test_any_recipes_and_ranges_keep_a_graph_right(
    recipes: tuple[Recipe, ...], per_channel: bool, method: CalibrationMethod, tmp_path: Path
) -> None:
    source, path = quantized(
        tmp_path,
        QuantizeOptions(recipes=recipes, per_channel=per_channel, calibration_method=method),
    )
    assert cosine(run(source, {"ids": IDS}), run(path, {"ids": IDS})) > 0.995


def test_both_formats_give_the_same_numbers_by_other_operators(tmp_path: Path) -> None:
    found = {}
    source = write_model(table_and_products(), tmp_path / "a.onnx").path
    for form in QuantFormat:
        settings = calibrating(tmp_path, QuantizeOptions(recipes=ALL, quant_format=form), ids=IDS)
        path = write_model(static_int8(source, settings), tmp_path / f"{form}.onnx").path
        operators = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
        found[form] = operators, run(path, {"ids": IDS})
    qdq, integers = found[QuantFormat.QDQ], found[QuantFormat.QOPERATOR]
    np.testing.assert_allclose(qdq[1], integers[1], rtol=1e-5, atol=1e-2)
    # The last product, which is batched, is not quantized.
    assert (qdq[0]["MatMul"], qdq[0]["MatMulIntegerToFloat"]) == (4, 0)
    assert (integers[0]["MatMul"], integers[0]["MatMulIntegerToFloat"]) == (1, 3)
    assert integers[0]["DequantizeLinear"] == 0


def test_a_result_depends_on_its_own_token_alone(tmp_path: Path) -> None:
    _, path = quantized(tmp_path, QuantizeOptions(recipes=ALL))
    together = run(path, {"ids": IDS})[:, 1:2]
    np.testing.assert_allclose(run(path, {"ids": IDS[1:2]}), together, rtol=1e-5, atol=1e-2)


def test_a_channel_that_one_token_makes_loud_costs_the_others_little(tmp_path: Path) -> None:
    square = RANDOM.standard_normal((64, 64), dtype=np.float32)
    square[7] /= 20  # it matters little to the results
    x = RANDOM.standard_normal((1, 200, 64), dtype=np.float32)
    x[0, 5, 7] = 200
    source = write_model(two_layers(square), tmp_path / "a.onnx").path

    def error(recipes: tuple[Recipe, ...]) -> float:
        settings = calibrating(tmp_path, QuantizeOptions(recipes=recipes), x=x)
        path = write_model(static_int8(source, settings), tmp_path / "b.onnx").path
        return 1 - cosine(run(path, {"x": x[:, 10:]}), run(source, {"x": x[:, 10:]}))

    assert error(ALL) < 0.2 * error(())


def test_only_what_helps_is_smoothed() -> None:
    weights = RANDOM.standard_normal((64, 64), dtype=np.float32)
    values = RANDOM.standard_normal((500, 64), dtype=np.float32)

    def factors(values: np.ndarray) -> np.ndarray | None:
        channels = Channels(
            mean=values.mean(axis=0),
            squares=np.square(values).mean(axis=0),
            lowest=values.min(axis=0),
            highest=values.max(axis=0),
        )
        return smoothing_for_one_scale(channels, [weights], 64, 255)

    even = factors(values)
    assert even is None or even.max() < 2
    values[0, 3] = 100
    found = factors(values)
    assert found is not None
    assert found.argmax() == 3
    assert found[3] >= 4 * np.median(found)


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [(CalibrationMethod.PERCENTILE, 3, 20), (CalibrationMethod.ENTROPY, 1, 800)],
)
def test_a_histogram_leaves_out_what_is_rare(
    method: CalibrationMethod, least: float, most: float, tmp_path: Path
) -> None:
    x = RANDOM.standard_normal((1, 10_000, 64), dtype=np.float32)
    x[0, 7, 7] = 1000
    source = write_model(two_layers(np.eye(64, dtype=np.float32)), tmp_path / "a.onnx").path
    surgery = Surgery(source)
    settings = calibrating(tmp_path, QuantizeOptions(calibration_method=method), x=x)
    ranges = histogram_ranges(surgery, surgery.products(), settings, {})
    low, high = ranges["x"]
    assert -20 < low < -3
    assert least < high < most
