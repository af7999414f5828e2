"""The speeds of a folder: what a conversion measures at its end, and `embconvert bench`."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from support import zoo
from support.asymmetric import build_inference_free
from support.command_line import embconvert
from support.documents import schema

pytestmark = pytest.mark.integration

SHORT = ("--seconds", 2, "--quiet")


@pytest.fixture(scope="module")
def models(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a tiny model was converted to QInt8."""
    parent = tmp_path_factory.mktemp("models")
    made = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", parent, "--quantize", "QInt8"
    )
    assert made.code == 0, made.stderr
    return parent


def test_all_files_are_measured_in_turns_and_again_when_there_is_one_more(
    models: Path, tiny_bert: Path
) -> None:
    words = ("all", "--model_id", tiny_bert, "--output_parent_dir", models)
    before = json.loads((models / tiny_bert.name / "embconvert.json").read_text("utf-8"))
    names = ["onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx"]
    assert [graph["path"] for graph in before["speeds"]["graphs"]] == names
    exported, *others = before["speeds"]["graphs"]
    assert exported["speedup"] is None
    for graph in others:
        assert graph["speedup"]["times"] > 0
        # The tiny model reads no more.
        assert [speed["shape"]["tokens"] for speed in graph["shapes"]] == [16, 64]
        assert all(speed["speedup"] for speed in graph["shapes"])

    more = embconvert(*words, "--quantize", "QInt8,Float16")
    after = more.manifest["speeds"]["graphs"]
    assert [graph["path"] for graph in after] == [*names, "onnx/model_opt1_Float16.onnx"]
    # Figures of two runs are not mixed.
    assert after[0]["shapes"] != exported["shapes"]
    assert "verify onnx/model.onnx" not in more.stderr
    assert "measuring the speed of 4 files, in turns" in more.stderr

    again = embconvert(*words, "--quantize", "QInt8,Float16")
    assert "measuring the speed" not in again.stderr
    assert again.manifest["speeds"] == more.manifest["speeds"]


def test_bench_measures_every_file_by_batch_and_threads_and_names_the_best(
    models: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    page = tmp_path / "pages" / "bench.html"
    options = ("--shapes", "1x16,4x32,1x100000", "--threads", "1,9999", "--output", page, *SHORT)
    done = embconvert("bench", models / tiny_bert.name, *options, "--json")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    jsonschema.validate(found, schema("bench"))
    for graph in found["graphs"]:
        assert graph["load_s"] > 0
        assert graph["peak_memory_bytes"] > graph["size_bytes"]
        shapes = [(one["shape"]["texts"], one["shape"]["tokens"]) for one in graph["latencies"]]
        assert shapes == [(1, 16), (4, 32)]
        assert all(one["p50_ms"] <= one["p95_ms"] for one in graph["latencies"])
        assert {one["threads"] for one in graph["latencies"]} == {1}
    assert {best["use"] for best in found["best"]} == {"one query", "bulk"}
    left_out = {left["what"]: left["reason"] for left in found["left_out"]}
    assert set(left_out) == {"1x100000", "9999 threads"}
    assert "reads at most" in left_out["1x100000"]
    assert "Best for one query" in page.read_text(encoding="utf-8")


def test_bench_measures_no_file_that_the_manifest_does_not_list(
    models: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    for file in (models / tiny_bert.name).rglob("*"):
        if file.is_file():
            copy = folder / file.relative_to(models / tiny_bert.name)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (folder / "onnx" / "model_opt1.onnx").write_bytes(b"not the file")
    page = tmp_path / "bench.html"
    refused = embconvert("bench", folder, "--output", page, *SHORT)
    assert refused.code == 3
    assert "model_opt1.onnx" in refused.stderr
    assert not page.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--providers", "cuda"), "no provider cuda"),
        (("--threads", "9999"), "fewer than --threads 9999"),
        (("--shapes", "1x99999"), "no shape is left to measure: the model reads at most"),
    ],
)
def test_bench_says_why_nothing_can_be_measured(
    models: Path, tiny_bert: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    page = tmp_path / "bench.html"
    refused = embconvert("bench", models / tiny_bert.name, "--output", page, *options, *SHORT)
    assert refused.code == 2
    assert said in refused.stderr


def test_bench_refuses_an_output_before_it_measures(
    models: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    refused = embconvert("bench", models / tiny_bert.name, "--output", tmp_path, *SHORT)
    assert (refused.code, "is a folder" in refused.stderr) == (9, True)
    assert "checking" not in refused.stderr
    (tmp_path / "file").touch()
    page = tmp_path / "file" / "bench.html"
    below = embconvert("bench", models / tiny_bert.name, "--output", page, *SHORT)
    assert (below.code, "cannot be written" in below.stderr) == (9, True)
    assert "checking" not in below.stderr


MAKERS: dict[str, Callable[[Path, Path], Path]] = {
    "static": lambda folder, _: zoo.build_static(folder),
    "reranker": lambda folder, _: zoo.build_reranker("bert", folder),
    "late interaction": lambda folder, _: zoo.build_late_interaction("bert", folder),
    # Sparse models, one of which is a table of weights.
    "routes": build_inference_free,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_bench_measures_every_kind(kind: str, tmp_path: Path) -> None:
    model = MAKERS[kind](tmp_path / "model", tmp_path / "parts")
    made = embconvert(
        "export", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--skip_validation"
    )
    assert made.code == 0, made.stderr
    page = tmp_path / "bench.html"
    options = ("--shapes", "1x8,2x16", "--output", page, "--json", *SHORT)
    done = embconvert("bench", tmp_path / "out" / model.name, *options)
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    parts = found["routes"] if kind == "routes" else {"": found}
    assert set(parts) == ({"query", "document"} if kind == "routes" else {""})
    for part in parts.values():
        (graph,) = part["graphs"]
        assert len(graph["latencies"]) == 2
        assert {best["use"] for best in part["best"]} == {"one query", "bulk"}
    items = "Pairs/s" if kind == "reranker" else "Texts/s"
    assert page.read_text(encoding="utf-8").count(f">{items}<") == len(parts)
