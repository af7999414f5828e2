"""4-bit weights with half precision between them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper, parser

from embconvert.graph.onnx_file import read_artifact
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.models.values import QuantizedModel
from embconvert.quantize import quantize
from embconvert.quantize.settings import QuantizeSettings

WIDTH = 64
IDS = np.arange(300, dtype=np.int64).reshape(10, 30)
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((300, WIDTH), np.float32)
SQUARE = RANDOM.standard_normal((WIDTH, WIDTH), np.float32) / 8
BODY = """
    x = Gather(table, input_ids)
    z = MatMul(x, square)
    last_hidden_state = MatMul(z, square)
"""


def feeds(*_: object, **__: object) -> Iterator[dict[str, np.ndarray]]:
    yield {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}


def quantized(folder: Path, precision: Precision, table: Any = TABLE) -> QuantizedModel:
    path = folder / "a.onnx"
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        f"g (int64[batch, seq] input_ids) => (float last_hidden_state) {{{BODY}}}"
    )
    model.graph.initializer.extend(
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(SQUARE, "square")]
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{number}"
    onnx.save(model, str(path))
    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=(Recipe.SPLIT,)), calibration=feeds, work=folder
    )
    source = read_artifact(path)
    return quantize(source, folder / f"{precision}.onnx", precision=precision, settings=settings)


def results(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    return np.asarray(session.run(None, {"input_ids": IDS})[0])


def test_it_computes_what_q4_computes_with_scales_and_activations_of_half_the_size(
    tmp_path: Path,
) -> None:
    whole, halved = (quantized(tmp_path, p) for p in (Precision.Q4, Precision.Q4F16))
    theirs, ours = (results(made.artifact.path) for made in (whole, halved))
    assert ours.dtype == np.float32  # the outputs stay
    assert np.linalg.norm(ours - theirs) < 0.01 * np.linalg.norm(theirs)
    assert halved.artifact.size_bytes < whole.artifact.size_bytes
    kinds = {t.data_type for t in onnx.load(str(halved.artifact.path)).graph.initializer}
    assert kinds == {TensorProto.UINT8, TensorProto.FLOAT16}
    assert halved.kept == ()


def test_what_half_precision_cannot_hold_stays_float32(tmp_path: Path) -> None:
    made = quantized(tmp_path, Precision.Q4F16, table=TABLE * np.float32(1e6))
    assert {node.operator for node in made.kept} == {
        "com.microsoft.GatherBlockQuantized", "com.microsoft.MatMulNBits",
    }  # fmt: skip
    theirs = results(tmp_path / "a.onnx")
    ours = results(made.artifact.path)
    assert np.isfinite(ours).all()
    assert np.linalg.norm(ours - theirs) < 0.2 * np.linalg.norm(theirs)
