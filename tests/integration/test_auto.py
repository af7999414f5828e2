"""`--quantize auto` from the command line."""

from pathlib import Path

import pytest
from conftest import embconvert

pytestmark = pytest.mark.integration


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
