"""`--quantize auto` from the command line."""

import json
from pathlib import Path

import pytest

from support.command_line import embconvert

pytestmark = pytest.mark.integration


def test_the_first_that_keeps_the_budget_is_published_alone_and_once(
    tiny_bert: Path, tmp_path: Path
) -> None:
    command = (
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "auto",
        "--min_cosine", 0.998,
    )  # fmt: skip
    outcome = embconvert(*command)
    assert outcome.code == 0, outcome.stderr
    graphs = {p.name for p in (tmp_path / "tiny-bert" / "onnx").iterdir()}
    assert graphs - {"model.onnx", "model_opt1.onnx"} in (
        {"model_opt1_QInt8.onnx"}, {"model_opt1_Q8.onnx"},
    )  # fmt: skip
    assert "Q4 without mixed" in outcome.stderr
    assert "is below 0.998" in outcome.stderr
    again = embconvert(*command)
    assert again.code == 0, again.stderr
    assert "auto: trying" not in again.stderr


def test_a_budget_that_nothing_keeps_publishes_nothing_and_shows_the_frontier(
    tiny_bert: Path, tmp_path: Path
) -> None:
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "auto",
        "--min_cosine", 1.0, "--max_size", "50%",
    )  # fmt: skip
    assert outcome.code == 8
    assert outcome.stdout == ""
    assert "candidate" in outcome.stderr
    assert "no candidate meets the budget" in outcome.stderr
    assert not list(tmp_path.rglob("*.onnx"))


def test_the_first_that_loses_little_on_the_users_data_is_published(
    tiny_bert: Path, tmp_path: Path
) -> None:
    data = tmp_path / "pairs.csv"
    words = ["bread", "water", "a long road", "numbers and names", "the sea", "hello", "ice"]
    rows = [f"{a},{b},{(i * 7 + j) % 5}" for i, a in enumerate(words) for j, b in enumerate(words)]
    data.write_text("\n".join(["text1,text2,score", *rows]))
    command = [
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "auto",
        "--min_cosine", 0.5, "--min_neighbours", 0, "--evaluate", data,
    ]  # fmt: skip
    outcome = embconvert(*command, "--max_loss", 100)
    assert outcome.code == 0, outcome.stderr
    assert "pairs.csv: pairs with scores; 49 of them" in outcome.stderr
    assert "at most 100 points lost on pairs.csv" in outcome.stderr
    assert "points of Spearman lost" in outcome.stderr
    manifest = json.loads((tmp_path / "tiny-bert" / "embconvert.json").read_text())
    chosen = next(c for c in manifest["search"]["candidates"] if c["outcome"] is None)
    assert chosen["loss_points"] is not None
    again = embconvert(*command, "--max_loss", 100)
    assert "auto: trying" not in again.stderr
    data.write_text(data.read_text().replace("bread,bread,0", "bread,bread,4"))
    other = embconvert(*command, "--max_loss", 0)  # other data are another budget
    assert "auto: trying" in other.stderr


def test_data_that_the_model_cannot_be_evaluated_on_is_refused_before_work(
    tiny_bert: Path, tmp_path: Path
) -> None:
    data = tmp_path / "pairs.csv"
    data.write_text("text1,text2,score\na,b,x\n")
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "auto",
        "--evaluate", data,
    )  # fmt: skip
    assert outcome.code == 2
    assert "line 2" in outcome.stderr
    assert "trace" not in outcome.stderr
