"""One more precision is compared with the source's embeddings that an earlier run kept."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.command_line import convert

pytestmark = pytest.mark.integration

Q8 = "onnx/model_opt1_Q8.onnx"


def fidelity(folder: Path) -> Any:
    manifest = json.loads((folder / "embconvert.json").read_text())
    return next(a["fidelity"] for a in manifest["artifacts"] if a["path"] == Q8)


def test_one_more_precision_does_not_load_the_source_unless_others_may_write_what_was_kept(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / tiny_bert.name
    convert(tiny_bert, tmp_path, "--optimize", 1, "--quantize", "QInt8")
    again = convert(tiny_bert, tmp_path, "--optimize", 1, "--quantize", "Q8")
    assert "compared with the source's embeddings of an earlier run" in again.stderr
    assert "load the source" not in again.stderr
    figures = fidelity(folder)

    (folder / Q8).unlink()
    for kept in Path(os.environ["XDG_CACHE_HOME"]).rglob("references/*"):
        kept.chmod(0o666)
    other = convert(tiny_bert, tmp_path, "--optimize", 1, "--quantize", "Q8")
    assert "another user may have written" in other.stderr
    assert "load the source" in other.stderr
    assert fidelity(folder) == figures
