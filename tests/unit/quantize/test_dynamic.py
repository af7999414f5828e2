"""Eight-bit weights and activations, and techniques that reduce their error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import RECIPES, QuantizeOptions, Recipe
from embconvert.quantize.dynamic import dynamic_int8, dynamic_uint8
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.rewrite.editing import MICROSOFT
from embconvert.rewrite.standard import FORMS, write_in_standard_operators
from support.graphs import results, table_and_products, two_layers

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


@pytest.mark.parametrize("recipes", [(), ALL, (Recipe.CLIP,), (Recipe.GPTQ,)])
@pytest.mark.parametrize("reduce_range", [True, False])
def test_sums_of_pairs_of_products_fit_into_16_bits(
    recipes: tuple[Recipe, ...], reduce_range: bool, tmp_path: Path
) -> None:
    import onnx

    _, path = quantized(tmp_path, recipes, reduce_range=reduce_range)
    matrices = {
        t.name: onnx.numpy_helper.to_array(t).astype(int)
        for t in onnx.load(str(path)).graph.initializer
        if t.name.endswith(("_columns_quantized", "_rows_quantized"))
    }
    assert len(matrices) == 2
    # What x86 without VNNI adds in 16 bits: the products of channels 0 and 1, 2 and 3, ...
    pairs = np.concatenate(
        [np.abs(m).reshape(len(m) // 2, 2, -1).sum(axis=1).ravel() for m in matrices.values()]
    )
    assert (int(pairs.max()) * 255 < 2**15) == reduce_range
    # A row's largest weight uses more than 7 bits.
    assert max(int(np.abs(m).max()) for m in matrices.values()) > 70


def activated(
    folder: Path, x: np.ndarray, operator: str, *, standard: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what operator(x) @ w gives, and its quantized form.

    Args:
        standard: Write the operator in standard ones before.
    """
    node = ir.node(operator, [ir.val("x", dtype=ir.DataType.FLOAT, shape=["n", "s", 64])],
                   domain="" if operator == "Elu" else MICROSOFT)  # fmt: skip
    signs = np.random.default_rng(1).integers(0, 2, (64, 48)) * 2 - 1
    signs[1::2] = 0  # so that 8 bits hold the weights exactly
    tensor = ir.tensor(signs.astype(np.float32), name="w")
    weight = ir.Value(name="w", shape=tensor.shape, type=ir.TensorType(tensor.dtype),
                      const_value=tensor)  # fmt: skip
    product = ir.node("MatMul", [node.outputs[0], weight])
    y = product.outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape(["n", "s", 48]), ir.DataType.FLOAT
    node.outputs[0].name = "between"
    graph = ir.Graph([node.inputs[0]], [y], nodes=[node, product], initializers=[weight],
                     opset_imports={"": 17, MICROSOFT: 1}, name="g")  # fmt: skip
    model = write_in_standard_operators(ir.Model(graph, ir_version=8), FORMS if standard else ())
    return results(model, dynamic_int8, (Recipe.TOKEN_SCALES,), x, folder)


def test_results_of_gelu_are_rounded_as_finely_as_their_range_allows(tmp_path: Path) -> None:
    """They are positive but for a little, so that a sign would cost half of the integers."""
    x = 3 * RANDOM.standard_normal((1, 200, 64), dtype=np.float32)

    def error(operator: str, *, standard: bool = False) -> float:
        """Returns the error relative to the largest value."""
        theirs, ours = activated(tmp_path, x, operator, standard=standard)
        return float(np.sqrt(np.square(ours - theirs).mean()) / x.max())

    assert error("Gelu") < 0.7 * error("Elu")
    assert error("Gelu", standard=True) < 0.7 * error("Elu")


def test_gelu_of_very_negative_and_of_tiny_tokens_stays_right(tmp_path: Path) -> None:
    x = np.zeros((1, 3, 64), np.float32)
    x[0, 0] = -0.75  # where GELU is lowest
    x[0, 1, ::2] = 1e-3
    theirs, ours = activated(tmp_path, x, "Gelu")
    assert np.abs(ours - theirs).max() < 0.03 * np.abs(theirs).max()
    assert not ours[0, 2].any()


def test_layers_that_share_a_matrix_are_smoothed_alike(tmp_path: Path) -> None:
    """The second product's activations have other outliers than the first one's, as albert's."""
    rows = RANDOM.standard_normal((64, 64), dtype=np.float32)
    rows[5] *= 30
    rows[:, 9] *= 30
    x = RANDOM.standard_normal((1, 20, 64), dtype=np.float32)
    x[..., 40] *= 50
    theirs, ours = results(two_layers(rows), dynamic_int8, ALL, x, tmp_path)
    assert (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
