"""Biases that make good how rounding shifts results."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.graph.onnx_file import write_model
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.quantize.dynamic import dynamic_int8
from embconvert.quantize.settings import QuantizeSettings

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 300, 64), dtype=np.float32) + np.float32(2)
WEIGHTS = RANDOM.standard_normal((64, 64), dtype=np.float32)


def value(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype),
                    const_value=tensor)  # fmt: skip


def model(*biases: str) -> ir.Model:
    """y = (x @ w) + b, and once more for each further bias; with no bias, y = x @ w."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=[1, "n", 64])
    weight = value("w", WEIGHTS)
    constants = [weight]
    nodes: list[ir.Node] = []
    for number, bias in enumerate(biases or ("",)):
        source = nodes[-1].outputs[0] if nodes else x
        nodes.append(ir.node("MatMul", [source, weight], name=f"product_{number}"))
        nodes[-1].outputs[0].name = f"product_{number}"
        if bias:
            known = next((c for c in constants if c.name == bias), None)
            constants += [] if known else [value(bias, RANDOM.random(64, np.float32))]
            bias_value = known or constants[-1]
            nodes.append(ir.node("Add", [bias_value, nodes[-1].outputs[0]]))
            nodes[-1].outputs[0].name = f"sum_{number}"
    y = nodes[-1].outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape([1, "n", 64]), ir.DataType.FLOAT
    graph = ir.Graph([x], [y], nodes=nodes, initializers=constants, opset_imports={"": 17},
                     name="g")  # fmt: skip
    return ir.Model(graph, ir_version=8)


def results(
    source: ir.Model, folder: Path, recipes: tuple[Recipe, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a graph gives, and its quantized form."""
    path = write_model(source, folder / "a.onnx").path
    feed: dict[str, Any] = {"x": X, "attention_mask": np.ones((1, 300), np.int64)}
    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes),
        calibration=lambda *_: iter([feed]),
        work=folder,
    )
    found = write_model(dynamic_int8(path, settings), folder / "b.onnx").path
    exact, rounded = (
        np.asarray(onnxruntime.InferenceSession(str(p)).run(None, {"x": X})[0])
        for p in (path, found)
    )
    return exact, rounded


def test_a_mean_result_is_kept(tmp_path: Path) -> None:
    def shift(*recipes: Recipe) -> float:
        exact, rounded = results(model("b"), tmp_path, recipes)
        return float(np.abs((exact - rounded).mean(axis=(0, 1))).max())

    assert shift(Recipe.BIAS_CORRECTION) < 0.1 * shift()


@pytest.mark.parametrize("biases", [(), ("b", "c"), ("b", "b")])
def test_what_has_no_bias_of_its_own_stays_right(biases: tuple[str, ...], tmp_path: Path) -> None:
    exact, rounded = results(model(*biases), tmp_path, (Recipe.BIAS_CORRECTION, Recipe.SMOOTH))
    assert (exact * rounded).sum() / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.999
