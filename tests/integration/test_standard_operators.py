"""--operators standard: graphs that programs without ONNX Runtime's own operators run."""

import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from embconvert.fidelity.tokenization import TextTokenizer
from support import zoo
from support.command_line import Outcome, convert

pytestmark = pytest.mark.integration

# onnx's reference evaluator has DequantizeLinear of single axes from opset 19 on.
OPTIONS = ("--quantize", "QInt8,Q4", "--opset", 19, "--min_cosine", 0.9)
FILES = ("model_opt1.onnx", "model_opt1_QInt8.onnx", "model_opt1_Q4.onnx")
Feed = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    parent = tmp_path_factory.mktemp("standard")
    return convert(tiny_bert, parent, *OPTIONS, "--operators", "standard")


@pytest.fixture(scope="module")
def reference(tiny_bert: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    vectors: np.ndarray = SentenceTransformer(str(tiny_bert), device="cpu").encode(zoo.SENTENCES)
    return vectors


def by_the_reference_evaluator(path: Path, feed: Feed) -> Any:
    evaluator = ReferenceEvaluator(str(path))
    return evaluator.run(["sentence_embedding"], dict(feed))[0]


def by_openvinos_frontend(path: Path, feed: Feed) -> Any:
    import openvino

    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", precision)
    return model(dict(feed))["sentence_embedding"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "program",
    [
        by_the_reference_evaluator,
        pytest.param(
            by_openvinos_frontend,
            marks=pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is an extra"),
        ),
    ],
)
def test_other_programs_give_the_embeddings_of_the_source(
    program: Callable[[Path, Feed], Any], file: str, run: Outcome, reference: np.ndarray
) -> None:
    path = run.folder / "onnx" / file
    inputs = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
    texts = TextTokenizer(run.folder).tokenize(zoo.SENTENCES)
    found = program(path, texts.batch(range(len(zoo.SENTENCES)), inputs))
    cosines = (found * reference).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > (0.99999 if file == FILES[0] else 0.95)


def test_no_file_has_other_operators_and_each_says_its_opset(run: Outcome) -> None:
    for file in FILES:
        record = run.graph(file)
        assert not [name for name in record["operators"] if "." in name], file
        assert record["opset"] == (21 if "Q4" in file else 19)


def test_without_the_option_files_are_made_again(
    run: Outcome, tiny_bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / run.folder.name)
    again = convert(tiny_bert, tmp_path, *OPTIONS, "--operators", "standard")
    assert "nothing was changed" in again.stderr
    other = convert(tiny_bert, tmp_path, *OPTIONS)
    assert "com.microsoft.MatMulNBits" in other.graph(FILES[2])["operators"]
