"""Files of OpenVINO's format, as OpenVINO runs them."""

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from embconvert.derive import derive
from embconvert.errors import DeriveError
from embconvert.fidelity.runners import untrusted_problem
from embconvert.graph.openvino_ir import IrSession, openvino
from embconvert.models.choices import Precision
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.values import OnnxArtifact
from support.derived import derive_settings
from support.graphs import embedding_model, scoring_model

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is an extra: see Makefile"
)

FORM = FileForm(kind=FormKind.OPENVINO)
FEED = {"input_ids": np.array([[1, 5, 9], [2, 7, 0]]), "attention_mask": np.ones((2, 3), np.int64)}


def feeds(inputs: list[str]) -> Iterator[dict[str, np.ndarray]]:
    yield {name: FEED[name] for name in inputs}


def converted(folder: Path, precision: Precision, name: str = "a") -> OnnxArtifact:
    source = embedding_model(folder / "model.onnx")
    path = folder / name / "openvino_model.xml"
    settings = derive_settings(FORM, folder, precision=precision, calibration=feeds)
    return derive(source, path, settings).artifact


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [(Precision.FLOAT32, 1e-6), (Precision.FLOAT16, 1e-3), (Precision.Q8, 0.02)],
)
def test_the_values_are_those_of_the_source(
    tmp_path: Path, precision: Precision, tolerance: float
) -> None:
    made = converted(tmp_path, precision)
    session = IrSession(made.path)
    assert session.inputs == ["input_ids", "attention_mask"]
    ours = session.run(FEED)
    wanted = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, FEED)
    for name, value in zip(("last_hidden_state", "sentence_embedding"), wanted, strict=True):
        np.testing.assert_allclose(ours[name], value, atol=tolerance * np.abs(value).max())


def test_rounded_scores_are_those_of_their_own_texts(tmp_path: Path) -> None:
    source = scoring_model(tmp_path / "model.onnx")
    batch = np.random.default_rng(0).integers(0, 40, (8, 5))
    settings = derive_settings(
        FORM, tmp_path, precision=Precision.QINT8_STATIC,
        calibration=lambda inputs: [dict.fromkeys(inputs, batch)],
    )  # fmt: skip
    session = IrSession(derive(source, tmp_path / "made" / "a.xml", settings).artifact.path)
    wanted = onnxruntime.InferenceSession(str(source.path))
    for texts in (1, 2, 8):
        feed = {"input_ids": batch[:texts]}
        (theirs,) = wanted.run(None, feed)
        np.testing.assert_allclose(session.run(feed)["logits"], theirs, atol=0.5)
    assert np.ptp(theirs) > 5


def test_both_files_are_recorded_and_name_no_path_of_this_machine(tmp_path: Path) -> None:
    made = converted(tmp_path, Precision.FLOAT32)
    assert made.external_data is not None
    assert made.external_data.path == "openvino_model.bin"
    assert {path.name for path in made.path.parent.iterdir()} == {
        "openvino_model.xml", "openvino_model.bin",
    }  # fmt: skip
    assert str(tmp_path) not in made.path.read_text()
    assert made.operators["openvino.MatMul"] == 1
    assert made.forms == (FORM,)


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.Q8])
def test_the_same_graph_gives_the_same_bytes(tmp_path: Path, precision: Precision) -> None:
    first, second = (converted(tmp_path, precision, name) for name in ("a", "b"))
    assert first.digest == second.digest


def test_results_outlive_the_next_run(tmp_path: Path) -> None:
    session = IrSession(converted(tmp_path, Precision.FLOAT32).path, threads=1)
    first = session.run(FEED)["sentence_embedding"]
    before = first.copy()
    session.run({**FEED, "input_ids": FEED["input_ids"][::-1].copy()})
    np.testing.assert_array_equal(first, before)


def test_the_libraries_cannot_report_their_use() -> None:
    openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_what_openvino_does_not_read_is_one_line(tmp_path: Path) -> None:
    source = embedding_model(tmp_path / "model.onnx")
    source.path.write_bytes(b"nonsense")
    with pytest.raises(DeriveError) as caught:
        derive(source, tmp_path / "a.xml", derive_settings(FORM, tmp_path, calibration=feeds))
    assert caught.value.message.startswith("OpenVINO cannot convert model.onnx to Float32: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("<net ", "<!DOCTYPE x><net ", 1), "is not a file of OpenVINO's"),
        (lambda text: text[20:], "is not a file of OpenVINO's"),
        (lambda text: text.replace('offset="0"', 'offset="99999999"', 1), "beyond the end"),
    ],
)
def test_an_untrusted_file_is_looked_at_before_it_is_opened(
    tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    path = converted(tmp_path, Precision.FLOAT32).path
    assert untrusted_problem(path, (FORM,)) is None
    path.write_text(change(path.read_text()))
    assert problem in (untrusted_problem(path, (FORM,)) or "")


def test_an_untrusted_file_without_its_weights_is_not_opened(tmp_path: Path) -> None:
    path = converted(tmp_path, Precision.FLOAT32).path
    path.with_suffix(".bin").unlink()
    assert "openvino_model.bin" in (untrusted_problem(path, (FORM,)) or "")
