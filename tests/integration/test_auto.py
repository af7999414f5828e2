"""`--quantize auto` from the command line."""

from pathlib import Path

import pytest
from conftest import embconvert

pytestmark = pytest.mark.integration


def test_the_first_that_keeps_the_budget_is_published_alone_and_once(
    tiny_bert: Path, tmp_path: Path
) -> None:
    command = (
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "auto",
        "--min_cosine", 0.995,
    )  # fmt: skip
    outcome = embconvert(*command)
    assert outcome.code == 0, outcome.stderr
    graphs = {p.name for p in (tmp_path / "tiny-bert" / "onnx").iterdir()}
    assert graphs - {"model.onnx", "model_opt1.onnx"} in (
        {"model_opt1_QInt8.onnx"}, {"model_opt1_Q8.onnx"},
    )  # fmt: skip
    assert "Q4 without mixed" in outcome.stderr
    assert "is below 0.995" in outcome.stderr
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
    assert "nothing that was tried keeps the budget" in outcome.stderr
    assert not list(tmp_path.rglob("*.onnx"))
