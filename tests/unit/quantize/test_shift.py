"""Channels that are far from zero are moved to it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.quantize.channels import Channels
from embconvert.quantize.dynamic import dynamic_int8
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.shift import shifted

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 200, 64), dtype=np.float32)
X[..., 5] += 60
X[..., 9] -= 40
SCALES = Recipe.TOKEN_SCALES


def constant(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )


def model(rows: int, *, bias: bool, gemm: bool = False) -> ir.Model:
    """y = x @ w, with or without a bias."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=["n", 64] if gemm else [1, "n", 64])
    weight = constant("w", RANDOM.standard_normal((64, rows), dtype=np.float32))
    values = [weight] + ([constant("b", np.ones(rows, np.float32))] if bias else [])
    if gemm:
        nodes = [ir.node("Gemm", [x, *values])]
    else:
        nodes = [ir.node("MatMul", [x, weight])]
        nodes[0].outputs[0].name = "product"
        nodes += [ir.node("Add", [nodes[0].outputs[0], values[1]])] if bias else []
    y = nodes[-1].outputs[0]
    y.name, y.dtype = "y", ir.DataType.FLOAT
    y.shape = ir.Shape(["n", rows] if gemm else [1, "n", rows])
    graph = ir.Graph([x], [y], nodes=nodes, initializers=values, opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=8)


def error(source: ir.Model, folder: Path, *recipes: Recipe) -> float:
    x = X[0] if len(source.graph.inputs[0].shape or ()) == 2 else X
    path = write_model(source, folder / "a.onnx").path
    feed: dict[str, Any] = {"x": x, "attention_mask": np.ones(x.shape[:-1], np.int64)}
    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes), calibration=lambda *_: iter([feed]), work=folder
    )
    found = write_model(dynamic_int8(path, settings), folder / "b.onnx").path
    theirs, ours = (
        np.asarray(onnxruntime.InferenceSession(str(p)).run(None, {"x": x})[0])
        for p in (path, found)
    )
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs - theirs.mean(axis=-2)))


@pytest.mark.parametrize("gemm", [False, True])
@pytest.mark.parametrize("others", [(), (Recipe.SMOOTH,), (Recipe.CLIP,), (Recipe.GPTQ,)])
def test_channels_far_from_zero_cost_the_others_nothing(
    gemm: bool, others: tuple[Recipe, ...], tmp_path: Path
) -> None:
    source = model(64, bias=True, gemm=gemm)
    plain = error(source, tmp_path, SCALES)
    assert error(source, tmp_path, SCALES, Recipe.SHIFT, *others) < 0.1 * plain


def test_split_channels_are_not_shifted_twice(tmp_path: Path) -> None:
    spread = X.copy()
    source = model(64, bias=True)
    x = spread[..., 5]
    x *= np.linspace(-3, 3, x.shape[-1], dtype=np.float32)
    assert error(source, tmp_path, SCALES, Recipe.SHIFT, Recipe.SPLIT) < 0.05


@pytest.mark.parametrize(("rows", "bias"), [(64, False), (32, True)])
def test_products_without_a_bias_or_with_few_results_are_not_shifted(
    rows: int, bias: bool, tmp_path: Path
) -> None:
    source = model(rows, bias=bias)
    assert error(source, tmp_path, SCALES, Recipe.SHIFT) == error(source, tmp_path, SCALES)


def test_statistics_follow_the_shift() -> None:
    rows, offsets = X[0], RANDOM.standard_normal(64).astype(np.float32)

    def channels(x: np.ndarray) -> Channels:
        return Channels(mean=x.mean(axis=0), squares=np.square(x).mean(axis=0),
                        lowest=x.min(axis=0), highest=x.max(axis=0))  # fmt: skip

    found, wanted = shifted(channels(rows), offsets), channels(rows - offsets)
    for name in ("mean", "squares", "lowest", "highest"):
        assert np.allclose(getattr(found, name), getattr(wanted, name), rtol=1e-3, atol=1e-3)
