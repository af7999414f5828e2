"""--layout openvino: files that OpenVINO runs, verified as it does."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from support import zoo
from support.command_line import Outcome, convert, embconvert, files_in
from support.evaluation import beir

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is an extra: see Makefile"),
]

OPTIONS = ("--layout", "openvino", "--quantize", "QInt8Static", "--min_cosine", 0.9)


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return convert(tiny_bert, tmp_path_factory.mktemp("openvino"), *OPTIONS)


def test_the_files_are_verified_timed_and_recorded(run: Outcome) -> None:
    records = {a["path"]: a for a in run.manifest["artifacts"]}
    assert set(records) == {
        "onnx/model.onnx",
        "openvino/openvino_model.xml",
        "openvino/openvino_model_qint8_quantized.xml",
    }
    assert records["openvino/openvino_model.xml"]["fidelity"]["similarity"]["mean"] > 0.99999
    for path, record in records.items():
        assert record["fidelity"]["similarity"]["mean"] > 0.9, path
        if path != "onnx/model.onnx":
            assert record["external_data"]["path"] == path.replace(".xml", ".bin")
            assert record["made_from"] == records["onnx/model.onnx"]["sha256"]
    assert {graph["path"] for graph in run.manifest["speeds"]["graphs"]} == set(records)
    assert run.manifest["recommended"]["path"].startswith("openvino/")
    assert 'backend="openvino"' in (run.folder / "README.md").read_text()
    assert "no optimized ONNX file is written" in run.stderr


def test_a_second_run_reuses_them(run: Outcome, tiny_bert: Path) -> None:
    before = files_in(run.folder / "openvino")
    again = convert(tiny_bert, run.folder.parent, *OPTIONS)
    assert "nothing was changed" in again.stderr
    assert files_in(run.folder / "openvino") == before


def test_a_published_folder_is_verified_with_them(run: Outcome, tiny_bert: Path) -> None:
    outcome = embconvert("verify", run.folder, "--against", tiny_bert)
    assert outcome.code == 0, outcome.stderr
    assert "openvino/openvino_model_qint8_quantized.xml: " in outcome.stdout


def test_evaluate_and_diff_run_them(run: Outcome, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"text {number}\n" for number in range(40)))
    evaluated = embconvert("evaluate", run.folder, "--data", texts, "--output", tmp_path)
    assert evaluated.code == 0, evaluated.stderr
    for file in ("openvino_model.xml", "openvino_model_qint8_quantized.xml"):
        assert f"openvino/{file}" in evaluated.stdout + evaluated.stderr
    first = run.folder / "openvino" / "openvino_model.xml"
    compared = embconvert("diff", first, run.folder / "onnx" / "model.onnx", "--texts", texts)
    assert compared.code == 0, compared.stderr
    assert "mean cosine 1.00000" in compared.stdout


@pytest.mark.parametrize("build", [zoo.build_reranker, zoo.build_late_interaction])
def test_evaluate_runs_those_of_other_kinds(build: Callable[..., Path], tmp_path: Path) -> None:
    made = embconvert(
        "export", "--model_id", build("bert", tmp_path / "m"), "--output_parent_dir",
        tmp_path / "out", "--layout", "openvino", "--skip_validation",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    texts = {f"d{n}": f"{sentence} {n}" for n, sentence in enumerate(zoo.SENTENCES)}
    data = beir(tmp_path / "data", texts, {"q": texts["d0"]}, [("q", "d0", 1)])
    outcome = embconvert("evaluate", made.folder, "--data", data, "--json")
    assert outcome.code == 0, outcome.stderr
    ((exported, converted),) = (one["graphs"] for one in json.loads(outcome.stdout)["evaluations"])
    assert converted["path"] == "openvino/openvino_model.xml"
    for ours, theirs in zip(converted["figures"], exported["figures"], strict=True):
        assert ours["value"] == pytest.approx(theirs["value"])
