"""The options of the command line, on a tiny model."""

import json
from pathlib import Path

import pytest

from embconvert.models.kinds import KINDS, Kind
from support import zoo
from support.command_line import embconvert, files_in

pytestmark = pytest.mark.integration


def test_a_dry_run_prints_the_plan_and_writes_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    arguments = ("all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--dry_run")
    text = embconvert(*arguments, "--quantize", "QInt8")
    plan = embconvert(*arguments, "--quantize", "QInt8", "--json")
    assert text.code == plan.code == 0
    assert "onnx/model_opt1_QInt8.onnx" in text.stdout
    assert text.stdout.splitlines()[-1].startswith("then the speeds of the published files are")
    assert json.loads(plan.stdout)["times_files"] is True
    unverified = embconvert(*arguments, "--skip_validation")
    assert "speeds" not in unverified.stdout
    assert [step["file"] for step in json.loads(plan.stdout)["steps"]] == [
        "onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx",
    ]  # fmt: skip
    assert files_in(tmp_path) == {}


def test_a_dry_run_names_the_files_that_another_layout_removes(
    tiny_bert: Path, tmp_path: Path
) -> None:
    arguments = ("all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path)
    assert embconvert(*arguments, "--quantize", "QInt8,Float16", "--min_cosine", 0.5).code == 0
    other = (*arguments, "--quantize", "QInt8", "--min_cosine", 0.5, "--layout", "fastembed")
    dry = embconvert(*other, "--dry_run")
    assert "removed   onnx/model_opt1_Float16.onnx: the folder had the layout hub" in dry.stdout
    assert "nothing to do" not in dry.stdout
    as_json = json.loads(embconvert(*other, "--dry_run", "--json").stdout)
    assert as_json["removed"] == ["onnx/model_opt1_Float16.onnx"]
    run = embconvert(*other)
    assert "onnx/model_opt1_Float16.onnx is removed: the folder had the layout hub" in run.stderr


def test_json_prints_the_manifest_and_quiet_says_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    outcome = embconvert(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--json", "--quiet"
    )
    assert outcome.code == 0
    assert outcome.stderr == ""
    published = (tmp_path / "tiny-bert" / "embconvert.json").read_text()
    assert json.loads(outcome.stdout) == json.loads(published)


def test_optimize_0_quantizes_the_export(tiny_bert: Path, tmp_path: Path) -> None:
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--optimize", 0,
        "--quantize", "QInt8", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert {p.name for p in (tmp_path / "tiny-bert" / "onnx").iterdir()} == {
        "model.onnx", "model_opt0_QInt8.onnx",
    }  # fmt: skip
    assert "no optimized file" in outcome.stderr


@pytest.mark.parametrize("level", [2, 99])
def test_higher_levels_write_their_own_file(level: int, tiny_bert: Path, tmp_path: Path) -> None:
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--optimize", level
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph(f"model_opt{level}.onnx")["optimization_level"] == level
    assert ("only on this kind of CPU" in outcome.stderr) == (level == 99)


def test_a_model_without_modules_gets_mean_pooling_and_is_told(tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "plain", pooling=None)
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    assert "mean pooling is assumed" in outcome.stderr
    assert outcome.manifest["source"]["model"]["pooling"] == ["mean"]
    folder = tmp_path / "out" / "plain"
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] is True
    assert (folder / "modules.json").exists()


def test_pooling_can_be_overridden(tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "plain", pooling=None)
    outcome = embconvert(
        "export", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--pooling", "cls"
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.manifest["source"]["model"]["pooling"] == ["cls"]
    assert outcome.graph("model.onnx")["fidelity"]["similarity"]["min"] > 0.99999


def test_half_precision_checkpoints_are_compared_in_float32(tmp_path: Path) -> None:
    model = zoo.build_model("qwen3", tmp_path / "half", dtype="bfloat16")
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model.onnx")["fidelity"]["relative_diff"] < 1e-4


def test_another_export_replaces_or_removes_what_was_made_of_the_old_one(
    tiny_bert: Path, tmp_path: Path
) -> None:
    common = ("--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation")
    embconvert("all", *common, "--quantize", "QInt8")
    changed = embconvert("all", *common, "--quantize", "QInt8", "--opset", 18)
    graphs = changed.manifest["artifacts"]
    assert [graph["opset"] for graph in graphs] == [18, 18, 18]
    assert [graph["made_from"] for graph in graphs[1:]] == [g["sha256"] for g in graphs[:-1]]
    (tmp_path / "tiny-bert" / "notes.txt").write_text("the user's own")
    outcome = embconvert("export", *common, "--opset", 17)
    assert outcome.code == 0, outcome.stderr
    assert "model_opt1_QInt8.onnx is removed" in outcome.stderr
    assert {p.name for p in (tmp_path / "tiny-bert" / "onnx").iterdir()} == {"model.onnx"}
    assert (tmp_path / "tiny-bert" / "notes.txt").read_text() == "the user's own"


def test_a_changed_graph_is_noticed_and_made_anew(tiny_bert: Path, tmp_path: Path) -> None:
    common = ("--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation")
    first = embconvert("export", *common)
    graph = tmp_path / "tiny-bert" / "onnx" / "model.onnx"
    good = graph.read_bytes()
    graph.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused = embconvert("optimize", *common)
    assert (refused.code, "not the file that the manifest lists" in refused.stderr) == (3, True)
    again = embconvert("export", *common)
    assert "was changed" in again.stderr
    assert again.graph("model.onnx")["sha256"] == first.graph("model.onnx")["sha256"]


@pytest.mark.parametrize("kind", Kind)
def test_the_tasks_are_those_that_optimum_takes_for_the_same(kind: Kind) -> None:
    from optimum.exporters.tasks import TasksManager

    rules = KINDS[kind]
    assert all(TasksManager.map_from_synonym(name) == name for name in rules.own_tasks)
    optimums = set(rules.tasks) - set(rules.own_tasks)
    if not optimums:
        return
    task = TasksManager.map_from_synonym(rules.task)
    assert {TasksManager.map_from_synonym(name) for name in optimums} == {task}
    assert {task, *TasksManager.synonyms_for_task(task)} == optimums
