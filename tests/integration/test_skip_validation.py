"""Without validation a graph is not compared, but one that does not load is not published."""

from pathlib import Path

import pytest

from support.command_line import ROOT, embconvert

pytestmark = pytest.mark.integration

UNLOADABLE = ROOT / "tests" / "support" / "unloadable"


@pytest.mark.parametrize(
    ("command", "options"),
    [("export", ()), ("all", ("--optimize", 0)), ("all", ("--quantize", "QInt8", "--no_float32"))],
)
def test_a_graph_that_onnx_runtime_does_not_load_is_not_published(
    command: str, options: tuple[object, ...], tiny_bert: Path, tmp_path: Path
) -> None:
    words = ("--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation")
    outcome = embconvert(command, *words, *options, env={"PYTHONPATH": f"{UNLOADABLE}:{ROOT}"})
    assert outcome.code not in (0, 1), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())
    whole = embconvert(command, *words, *options)
    assert whole.code == 0, whole.stderr
