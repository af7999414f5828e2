"""Eight-bit weights and activations, and what betters them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from graphs import results, table_and_products, two_layers

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import RECIPES, Precision, QuantizeOptions, Recipe
from embconvert.quantize.activations import Moments
from embconvert.quantize.dynamic import dynamic_int8, dynamic_uint8
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.smooth import is_worth_smoothing, smoothed, smoothing

RANDOM = np.random.default_rng(0)
IDS = np.arange(300, dtype=np.int64)
ALL = RECIPES[Precision.QINT8]


def quantized(
    folder: Path, recipes: tuple[Recipe, ...], *, signed: bool = True, **options: Any
) -> tuple[Path, Path]:
    """Writes a graph and its quantized form."""

    def calibration(inputs: list[str], tokens: int | None = None) -> "Iterator[Feed]":
        assert inputs == ["ids", "attention_mask"]
        assert tokens is None or tokens > 300
        yield {"ids": IDS, "attention_mask": np.ones((300, 1), np.int64)}

    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes, **options),
        calibration=calibration,
        work=folder,
    )
    source = write_model(table_and_products(), folder / "a.onnx")
    recipe = dynamic_int8 if signed else dynamic_uint8
    return source.path, write_model(recipe(source.path, settings), folder / "b.onnx").path


def run(path: Path, ids: np.ndarray) -> np.ndarray:
    """Returns a graph's results, (2, ids, 4); two batched constants make the last of them."""
    return np.asarray(onnxruntime.InferenceSession(str(path)).run(None, {"ids": ids})[0])


def cosine(paths: tuple[Path, Path]) -> float:
    expected, found = (run(path, IDS) for path in paths)
    return float((expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found))


@pytest.mark.parametrize("recipes", [(), *((recipe,) for recipe in ALL), ALL])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_any_recipes_together_keep_a_graph_right(
    recipes: tuple[Recipe, ...], signed: bool, per_channel: bool, tmp_path: Path
) -> None:
    assert cosine(quantized(tmp_path, recipes, signed=signed, per_channel=per_channel)) > 0.998


def test_a_token_with_a_scale_of_its_own_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    def moved(recipes: tuple[Recipe, ...]) -> float:
        _, path = quantized(tmp_path, recipes)
        alone = run(path, IDS[1:2])
        return float(np.abs(run(path, IDS)[:, 1:2] - alone).max() / np.abs(alone).max())

    assert moved(()) > 1e-3
    assert moved((Recipe.TOKEN_SCALES,)) < 1e-6


@pytest.mark.parametrize("limit", [64, 127])
def test_reduced_weights_have_seven_bits(limit: int, tmp_path: Path) -> None:
    import onnx

    _, path = quantized(tmp_path, ALL, reduce_range=limit == 64)
    weights = [
        onnx.numpy_helper.to_array(t)
        for t in onnx.load(str(path)).graph.initializer
        if t.name.endswith("_columns_quantized")
    ]
    assert [int(np.abs(w.astype(int)).max()) for w in weights] == [limit]


def test_smoothing_changes_no_product_and_evens_the_channels_out() -> None:
    activation = RANDOM.standard_normal((100, 16), dtype=np.float32)
    activation[:, 3] *= 100
    weights = RANDOM.standard_normal((8, 16), dtype=np.float32)
    moments = Moments(((activation.T @ activation / 100).astype(np.float32),))
    squares = np.diag(moments.windows[0])
    factors = smoothing(squares, [weights])
    np.testing.assert_allclose(
        (activation / factors) @ (weights * factors).T, activation @ weights.T, rtol=1e-3, atol=1e-2
    )
    after = np.diag(smoothed(moments, factors).windows[0])
    assert after.max() / np.median(after) < 0.05 * squares.max() / np.median(squares)


def test_a_channel_that_was_silent_is_not_made_loud() -> None:
    squares = np.ones(64, np.float32)
    squares[0], squares[1] = 0, 1e-12
    factors = smoothing(squares, [np.ones((4, 64), np.float32)])
    assert factors.min() >= 0.125


def test_a_wide_activation_is_smoothed_only_when_a_channel_dwarfs_the_others() -> None:
    squares = np.ones(64, np.float32)
    assert is_worth_smoothing(squares, 64)
    assert not is_worth_smoothing(squares, 16)
    squares[5] = 40
    assert is_worth_smoothing(squares, 16)


def test_layers_that_share_a_matrix_are_smoothed_alike(tmp_path: Path) -> None:
    """The second product's activations have other outliers than the first one's, as albert's."""
    rows = RANDOM.standard_normal((64, 64), dtype=np.float32)
    rows[5] *= 30
    rows[:, 9] *= 30
    x = RANDOM.standard_normal((1, 20, 64), dtype=np.float32)
    x[..., 40] *= 50
    theirs, ours = results(two_layers(rows), dynamic_int8, ALL, x, tmp_path)
    assert (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
