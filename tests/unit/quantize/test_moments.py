"""Second moments of activations, and that they are measured once for all candidates of a graph."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.moments import second_moments
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

WIDTH = 40
VALUES = np.random.default_rng(0).normal(size=(2, 3, WIDTH)).astype(np.float32)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    weight = np.random.default_rng(1).normal(size=(WIDTH, 8)).astype(np.float32)
    shape = ["batch", "seq"]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
            "graph",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [*shape, WIDTH]),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*shape, 8])],
            [onnx.numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


def test_moments_leave_out_padding_and_are_measured_once(graph: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    asked: list[int | None] = []

    def calibration(inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        assert inputs == ["x", "attention_mask"]
        asked.append(tokens)
        mask = np.array([[1, 1, 1], [1, 1, 0]])
        yield {"x": VALUES, "attention_mask": mask}  # type: ignore[dict-item]

    settings = QuantizeSettings(options=QuantizeOptions(), calibration=calibration, work=work)
    rows = np.concatenate([VALUES[0], VALUES[1, :2]])
    for _ in range(2):
        surgery = Surgery(graph)
        (moments,) = second_moments(surgery, surgery.products(), settings).values()
        np.testing.assert_allclose(moments.windows[0], rows.T @ rows / 5, rtol=1e-4, atol=1e-5)
    assert len(asked) == 1
    shifted = second_moments(surgery, surgery.products(), settings, {"x": rows.mean(axis=0)})
    centred = rows - rows.mean(axis=0)
    np.testing.assert_allclose(
        shifted["x"].windows[0], centred.T @ centred / 5, rtol=1e-4, atol=1e-5
    )
    assert len(asked) == 2
