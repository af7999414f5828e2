"""Verify goes by the module list of a folder that anybody may have edited."""

import json
from pathlib import Path

import pytest

from embconvert.graph.streams import hash_file
from support.faulty_runs import Runner

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("content", ["null", "[3]", "[]", '[{"type": 3}]'])
def test_a_broken_module_list(
    content: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--model_id", tiny_bert, "--output_parent_dir", out, "--skip_validation")
    assert runner.run(out, "export", *words).code == 0
    folder = out / tiny_bert.name
    path = folder / "modules.json"
    text = (folder / "embconvert.json").read_text()
    old, size = hash_file(path), path.stat().st_size
    path.write_text(content)
    text = text.replace(old, hash_file(path))
    manifest = json.loads(text)
    stack = [manifest]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("path") == "modules.json" and value.get("size_bytes") == size:
                value["size_bytes"] = len(content)
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    (folder / "embconvert.json").write_text(json.dumps(manifest))
    run = runner.run(out, "verify", folder, "--against", tiny_bert)
    assert run.code == 3, run.stderr[-2000:]
    assert "modules.json" in run.errors[0]
