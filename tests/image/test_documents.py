"""The commands of the documents and the GitHub action, run as they stand."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from support.containers import IMAGE
from support.hub_server import HubServer

pytestmark = pytest.mark.usefixtures("image")

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github/actions/convert"


def commands() -> list[str]:
    """Every `docker run` and `docker compose` of the documents' shell blocks, in order."""
    found = []
    for name in ("docs/installing.md", "docs/container.md", "docs/guides/private-models.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in re.findall(r"```sh\n(.*?)```", text, re.S):
            lines = [line.strip() for line in block.splitlines()]
            found += [line for line in lines if re.match(r"docker (run|compose)", line)]
    return found


@pytest.fixture
def workspace(tmp_path: Path, tiny_source: Path, hub: HubServer) -> Path:
    """An empty folder of the user's, where a stand-in for the network leads docker to the hub."""
    hub.add_model("intfloat/e5-small-v2", tiny_source)
    shutil.copytree(tiny_source, tmp_path / "work/my-model")
    shutil.copytree(ROOT / "docker", tmp_path / "work/docker")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/docker"
    network = f"--network host --env HF_ENDPOINT={hub.url}"
    program.write_text(
        f"""#!/bin/bash
if [ "$1" = run ] && [[ "$*" != *"--network none"* ]]; then
  shift; exec {shutil.which("docker")} run {network} "$@"
fi
exec {shutil.which("docker")} "$@"
"""
    )
    program.chmod(0o755)
    for path in [tmp_path, *tmp_path.parents[:2]]:
        path.chmod(0o755)
    return tmp_path


def shell(
    script: str, workspace: Path, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    path = f"{workspace / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script], cwd=workspace / "work", capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, **(env or {})},
    )  # fmt: skip


def test_the_documents_have_commands() -> None:
    assert len(commands()) >= 4


def test_each_command_of_the_documents_works(workspace: Path) -> None:
    """One after the other, as a reader would: some need what an earlier one left."""
    (workspace / "work/models").mkdir()
    for command in commands():
        # Tiny random models differ more than real ones.
        script = command + (" --min_cosine 0.5" if "--quantize" in command else "")
        done = shell(script, workspace)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    published = workspace / "work/models/intfloat/e5-small-v2/onnx"
    assert (published / "model_opt1_QInt8.onnx").is_file()


def action_environment(workspace: Path, hub: HubServer, **inputs: str) -> dict[str, str]:
    """The environment of the action's script, as Actions makes it of the inputs."""
    action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
    values = {name: str(field.get("default", "")) for name, field in action["inputs"].items()}
    values |= {"image": IMAGE, **inputs}
    step = next(s for s in action["runs"]["steps"] if s.get("id") == "convert")

    def resolve(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)

    outside = {"HF_ENDPOINT": hub.url}
    files = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary.md"}
    outside |= {name: str(workspace / file) for name, file in files.items()}
    return {name: resolve(text) for name, text in step["env"].items()} | outside


def outputs(workspace: Path) -> dict[str, str]:
    lines = (workspace / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_action_converts_and_tells(workspace: Path, hub: HubServer) -> None:
    env = action_environment(
        workspace, hub, model_id="intfloat/e5-small-v2", quantize="QInt8", min_cosine="0.5",
        no_reduce_range="true", hf_token="hf_secret",
    )  # fmt: skip
    done = shell(str(ACTION / "convert.sh"), workspace, env)
    assert done.returncode == 0, done.stderr
    told = outputs(workspace)
    assert told["verdict"] == "verified"
    assert told["folder"] == "models/intfloat/e5-small-v2"
    manifest = json.loads((workspace / "work" / told["manifest"]).read_text())
    assert manifest["source"]["model_id"] == "intfloat/e5-small-v2"
    summary = (workspace / "summary.md").read_text()
    assert "## embconvert: verified" in summary
    assert re.search(r"\| `onnx/model_opt1_QInt8.onnx` \| [\d.]+ \| 0\.\d{5} \|", summary)
    assert "hf_secret" not in done.stdout + done.stderr + summary
    assert sorted(p.name for p in (workspace / "work/models").iterdir()) == [".cache", "intfloat"]


def test_the_action_takes_a_folder_of_the_workspace(workspace: Path, hub: HubServer) -> None:
    env = action_environment(workspace, hub, model_id="my-model", skip_validation="true")
    done = shell(str(ACTION / "convert.sh"), workspace, env)
    assert done.returncode == 0, done.stderr
    assert outputs(workspace)["verdict"] == "not-verified"
    assert outputs(workspace)["folder"] == "models/my-model"
    assert (workspace / "work/models/my-model/onnx/model.onnx").is_file()


def test_a_failure_fails_the_action_with_its_reason(workspace: Path, hub: HubServer) -> None:
    env = action_environment(workspace, hub, model_id="no/such", quantize="QInt8")
    done = shell(str(ACTION / "convert.sh"), workspace, env)
    assert done.returncode == 3
    assert outputs(workspace) == {"verdict": "failed"}
    assert (
        "error: there is no folder no/such, and no model" in (workspace / "summary.md").read_text()
    )
