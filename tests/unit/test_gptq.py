"""Rounding with regard to activations."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from graphs import table_and_products

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import RECIPES, Precision, QuantizeOptions, Recipe
from embconvert.quantize.activations import Moments
from embconvert.quantize.blocks import BlockFormat, Blocks, dequantize_blocks, quantize_blocks
from embconvert.quantize.blockwise import blockwise_4
from embconvert.quantize.gptq import gptq_blocks
from embconvert.quantize.mixed import most_moved, relative_error
from embconvert.quantize.settings import Feed, QuantizeSettings

FORM = BlockFormat(bits=4, block_size=32)
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((40, 96), dtype=np.float32)
# Channels that go together, as activations' do: 24 causes of 96 channels.
ACTIVATIONS = RANDOM.standard_normal((500, 24), dtype=np.float32) @ RANDOM.standard_normal(
    (24, 96), dtype=np.float32
)


def moments(*ends: int) -> Moments:
    parts = np.split(ACTIVATIONS, ends, axis=1)
    return Moments(tuple(part.T @ part / len(ACTIVATIONS) for part in parts))


def moved(blocks: Blocks) -> float:
    difference = dequantize_blocks(blocks, FORM, 96) - WEIGHTS
    return float(np.square(ACTIVATIONS @ difference.T).sum())


@pytest.mark.parametrize("windows", [moments(), moments(64)])
def test_gptq_moves_results_far_less_than_rounding_to_the_nearest(windows: Moments) -> None:
    assert moved(gptq_blocks(WEIGHTS, FORM, windows)) < 0.5 * moved(quantize_blocks(WEIGHTS, FORM))


def test_gptq_without_any_activation_rounds_all_the_same() -> None:
    nothing = Moments((np.zeros((96, 96), np.float32),))
    assert np.isfinite(gptq_blocks(WEIGHTS, FORM, nothing).scales).all()


def test_the_relative_error_is_that_of_the_results() -> None:
    results = ACTIVATIONS @ WEIGHTS.T
    expected = moved(quantize_blocks(WEIGHTS, FORM)) / float(np.square(results).sum())
    assert relative_error(WEIGHTS, FORM, moments()) == pytest.approx(expected, rel=1e-3)


def test_the_products_that_move_farthest_are_chosen_up_to_a_share_of_the_weights() -> None:
    errors = {"near": 0.1, "far": 0.3, "farther": 0.4, "big": 0.5}
    sizes = {"near": 10, "far": 10, "farther": 10, "big": 70}
    assert most_moved(errors, sizes, 0.2) == {"far", "farther"}
    assert most_moved(errors, sizes, 0.8) == {"big", "farther"}


@pytest.mark.parametrize("recipes", [(), (Recipe.GPTQ,), (Recipe.MIXED,), RECIPES[Precision.Q4]])
def test_q4_with_any_recipes_keeps_a_graph_runnable(
    recipes: tuple[Recipe, ...], tmp_path: Path
) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx")
    ids = np.arange(300, dtype=np.int64)

    def calibration(inputs: list[str], tokens: int | None = None) -> "Iterator[Feed]":
        assert inputs == ["ids", "attention_mask"]
        assert tokens is None or tokens > 300
        yield {"ids": ids, "attention_mask": np.ones((1, 300), np.int64)}

    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes),
        calibration=calibration,
        work=tmp_path,
    )
    written = write_model(blockwise_4(source.path, settings), tmp_path / "b.onnx")
    expected, found = (
        onnxruntime.InferenceSession(str(a.path)).run(None, {"ids": ids})[0]
        for a in (source, written)
    )
    cosine = (expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found)
    assert cosine > 0.97
    assert written.operators["com.microsoft.MatMulNBits"] == 3
