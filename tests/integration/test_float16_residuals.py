"""Float16 of models with large residual streams, on texts that calibration never saw."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from embconvert.graph.half_precision import HALF_RANGE
from embconvert.graph.onnx_file import read_artifact
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize import quantize
from embconvert.quantize.settings import QuantizeSettings
from support import residuals, zoo
from support.command_line import convert
from support.halves import largest_half_values, open_alone

pytestmark = pytest.mark.integration

#: Calibration sees three quarters of the words; the texts that count have all of them.
SEEN, ALL = range(5, 300), range(5, zoo.VOCAB_SIZE)
#: The largest values; below, near and beyond half precision's range.
SIZES = (6e3, 2e4, 6e4, 9e4, 3e5)
#: A decoder at each size; encoders that normalize behind and before their layers at two of them,
#: and with EMBCONVERT_ALL_ARCHITECTURES=1 at all.
ENCODER_SIZES = SIZES if os.environ.get("EMBCONVERT_ALL_ARCHITECTURES") else (6e4, 3e5)
CASES = [
    *(("qwen3", size) for size in SIZES),
    *((name, size) for name in ("bert", "modernbert") for size in ENCODER_SIZES),
]


@pytest.fixture(scope="module")
def optimized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The optimized graph of a tiny model."""
    folder = tmp_path_factory.mktemp(request.param)
    model = zoo.build_model(request.param, folder / "model")
    outcome = convert(model, folder / "out", "--optimize", 1, "--skip_validation")
    return Path(outcome.stdout.strip()) / "onnx" / "model_opt1.onnx"


def halved(source: Path, target: Path) -> Path:
    def calibration(inputs: list[str], tokens: int | None = None) -> Iterator[Any]:
        del tokens  # there are few
        for feed in residuals.texts(64, seed=7, words=SEEN):
            yield {name: feed[name] for name in inputs}

    settings = QuantizeSettings(
        options=QuantizeOptions(), calibration=calibration, work=target.parent
    )
    made = quantize(
        read_artifact(source),
        target,
        precision=Precision.FLOAT16,
        settings=settings,
    )
    return made.artifact.path


def embed(path: Path, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = open_alone(path)
    inputs = [value.name for value in session.get_inputs()]
    runs = (session.run(["sentence_embedding"], {n: f[n] for n in inputs})[0] for f in feeds)
    return np.concatenate([np.asarray(run) for run in runs])


@pytest.mark.parametrize(("optimized", "size"), CASES, indirect=["optimized"])
def test_a_large_residual_stream_is_as_good_in_halves(
    optimized: Path, tmp_path: Path, size: float
) -> None:
    source = tmp_path / "planted.onnx"
    residuals.plant(optimized, source, size)
    made = halved(source, tmp_path / "half.onnx")

    feeds = list(residuals.texts(3000, seed=99, words=ALL))
    theirs, ours = embed(source, feeds), embed(made, feeds)
    assert np.isfinite(theirs).all()
    assert np.isfinite(ours).all()
    cosines = (theirs * ours).sum(axis=1)  # both have length 1
    assert cosines.mean() > 0.9995
    assert cosines.min() > 0.999
    # The planted channels do not make all texts alike: the cosines above mean something.
    assert (theirs[::2] * theirs[1::2]).sum(axis=1).mean() < 0.95

    graph = onnx.load(str(made)).graph
    largest = largest_half_values(made, feeds[:20])
    assert max(largest.values()) <= HALF_RANGE
    # A lookup copies what the table holds; what is computed has room for more.
    copied = {node.output[0] for node in graph.node if node.op_type == "Gather"}
    assert max(peak for name, peak in largest.items() if name not in copied) <= HALF_RANGE / 2
    # Not everything became float32: matrices are stored as halves, and some compute in them.
    matrices = [t for t in graph.initializer if len(t.dims) > 1 and np.prod(t.dims) * 4 > 4096]
    assert {t.data_type for t in matrices} == {TensorProto.FLOAT16}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    in_halves = [node for node in products if node.output[0] in largest]
    assert in_halves
