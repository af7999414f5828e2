"""Half precision where values fit into it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from graphs import table_and_products

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import Precision, QuantizeOptions
from embconvert.models.values import ExportedModel
from embconvert.quantize import quantize
from embconvert.quantize.settings import QuantizeSettings

IDS = np.arange(300, dtype=np.int64)


def converted(
    folder: Path, *, square: float = 1.0, number: float | None = None
) -> tuple[Path, Path, list[str]]:
    """Converts a graph whose square matrix, which is used twice, was multiplied.

    One of its numbers is replaced, if that is asked for.

    Returns the graph, the outcome, and the operators that were kept with what was said of them.
    """
    model = table_and_products()
    value = model.graph.initializers["square"]
    assert value.const_value is not None
    matrix = value.const_value.numpy() * np.float32(square)
    if number is not None:
        matrix[0, 0] = number
    value.const_value = ir.tensor(matrix, name="square")
    # What makes the last of the values small again, so that float16 could hold the results.
    batched = model.graph.initializers["batched"]
    assert batched.const_value is not None
    batched.const_value = ir.tensor(
        batched.const_value.numpy() / np.float32(square**2), name="batched"
    )
    source = write_model(model, folder / "a.onnx")
    said: list[str] = []
    feed: dict[str, Any] = {"ids": IDS, "attention_mask": np.ones_like(IDS)}
    settings = QuantizeSettings(
        options=QuantizeOptions(),
        calibration=lambda *_, **__: iter([feed]),
        work=folder,
        warn=said.append,
    )
    made = quantize(
        ExportedModel(artifact=source),
        folder / "b.onnx",
        precision=Precision.FLOAT16,
        settings=settings,
    )
    return source.path, made.artifact.path, [*said, *(node.operator for node in made.kept)]


def results(path: Path) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(str(path)).run(None, {"ids": IDS})[0])


def test_values_that_fit_are_all_half_precision(tmp_path: Path) -> None:
    source, path, said = converted(tmp_path)
    np.testing.assert_allclose(results(path), results(source), rtol=0.05, atol=5)
    assert path.stat().st_size < 0.55 * source.stat().st_size
    assert said == []


def test_values_that_would_overflow_stay_float32_and_are_said(tmp_path: Path) -> None:
    source, path, said = converted(tmp_path, square=100.0)
    expected, found = results(source), results(path)
    assert (expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found) > 0.9999
    assert "3 nodes stay float32" in said[0]
    assert said[1:] == ["MatMul", "Gemm", "MatMul"]
    # ONNX Runtime's CPU kernels compute in float32 in any case; other providers do not.
    assert kinds(path)["gemm"] == "FLOAT"
    _, quiet, _ = converted(tmp_path)
    assert kinds(quiet)["gemm"] == "FLOAT16"


def test_a_weight_that_half_precision_cannot_hold_stays_float32_and_is_said(tmp_path: Path) -> None:
    _, path, said = converted(tmp_path, number=-7e4)
    assert kinds(path)["square"] == "FLOAT"
    assert "stay float32" in said[0]
    assert len(said) == 1 + int(said[0].split()[1])  # each node, and the message once


def kinds(path: Path) -> dict[str, str]:
    """Returns the type of each weight."""
    model = onnx.load(str(path))
    return {t.name: onnx.TensorProto.DataType.Name(t.data_type) for t in model.graph.initializer}
