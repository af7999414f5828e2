"""Every script of the workflows runs, outside Actions, in the environment that Actions gives it.

What would leave this machine (docker, cosign) is a stand-in that notes its words; make is asked
whether it could do what it is told.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from embconvert import __version__

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64

#: What Actions would put for an expression.
EXPRESSIONS = {
    "matrix.target": "lint",
    "matrix.model": "intfloat/e5-small-v2",
    "matrix.shard": "2/3",
    "inputs.list": "models.yaml",
    "inputs.shards": "3",
    "inputs.image || format('ghcr.io/{0}:latest', github.repository)": "ghcr.io/ann/embconvert",
    "secrets.hf_token": "",
    "github.ref_name": f"v{__version__}",
    "github.actor": "ann",
    "github.repository": "ann/embconvert",
    "secrets.GITHUB_TOKEN": "secret-token",
    "steps.push.outputs.digest": DIGEST,
}

STAND_INS = {
    "docker": f"""#!/bin/sh
echo "docker $*" >>"$CALLS"
case $* in
  *--password-stdin) echo "stdin $(cat)" >>"$CALLS" ;;
  "image inspect"*) echo "ghcr.io/ann/embconvert@{DIGEST}" ;;
  run*sbom*) echo "{{}}" ;;
  run*--list_json*) echo '{{"include": []}}' ;;
esac
""",
    "cosign": '#!/bin/sh\necho "cosign $*" >>"$CALLS"\n',
    "make": """#!/bin/sh
echo "make $*" >>"$CALLS"
case $* in *version) exec {make} "$@" ;; *) exec {make} --dry-run "$@" >/dev/null ;; esac
""",
}


@dataclass(frozen=True)
class Script:
    workflow: str
    step: str
    text: str
    env: Mapping[str, str]


def scripts() -> Iterator[Script]:
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if "run" in step:
                    env = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
                    yield Script(path.stem, step["name"], step["run"], env)


def resolve(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        return EXPRESSIONS[match[1]]

    return re.sub(r"\$\{\{ *(.*?) *\}\}", value, text)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout to run scripts in, with stand-ins first on the path."""
    copied = shutil.ignore_patterns(".*", "build", "__pycache__", "models")
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=copied)
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name, text in STAND_INS.items():
        program = stand_ins / name
        program.write_text(text.replace("{make}", str(shutil.which("make"))))
        program.chmod(0o755)
    return tmp_path


def run(script: Script, workspace: Path) -> tuple[dict[str, str], list[str]]:
    """Runs a script; returns the step's outputs and what the stand-ins were told."""
    calls, output = workspace / "calls", workspace / "output"
    calls.touch()
    output.touch()
    env: dict[str, Any] = {
        "PATH": f"{workspace / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "GITHUB_OUTPUT": str(output),
        **{name: resolve(str(value)) for name, value in script.env.items()},
    }
    assert "${{" not in script.text, "expressions in scripts are an injection: use env"
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script.text],
        cwd=workspace / "checkout", env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = output.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines), calls.read_text().splitlines()


@pytest.mark.parametrize("script", scripts(), ids=lambda s: f"{s.workflow}: {s.step}")
def test_it_runs(script: Script, workspace: Path) -> None:
    run(script, workspace)


def script(workflow: str, step: str) -> Script:
    return next(s for s in scripts() if (s.workflow, s.step) == (workflow, step))


def test_a_release_pushes_signs_and_describes_one_digest(workspace: Path) -> None:
    outputs, calls = run(script("release", "Push"), workspace)
    assert outputs == {"digest": DIGEST, "sbom": "build/sbom.cdx.json"}
    assert f"docker push ghcr.io/ann/embconvert:{__version__}" in calls
    assert "docker push ghcr.io/ann/embconvert:latest" in calls
    assert (workspace / "checkout/build/sbom.cdx.json").read_text() == "{}\n"
    _, calls = run(script("release", "Sign"), workspace)
    assert calls[-1] == f"cosign sign --yes ghcr.io/ann/embconvert@{DIGEST}"


def test_the_token_is_never_a_word_of_a_command(workspace: Path) -> None:
    _, calls = run(script("release", "Log in"), workspace)
    assert calls == ["docker login ghcr.io --username ann --password-stdin", "stdin secret-token"]


def test_a_tag_that_is_not_the_version_stops_the_release(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPRESSIONS, "github.ref_name", "v9.9.9")
    with pytest.raises(subprocess.CalledProcessError):
        run(script("release", "The tag is the version"), workspace)


def test_an_artifact_is_named_after_its_model(workspace: Path) -> None:
    outputs, _ = run(script("convert", "Name of the artifact"), workspace)
    assert outputs == {"artifact": "intfloat--e5-small-v2"}


def test_a_list_becomes_a_matrix_and_each_job_converts_its_part(workspace: Path) -> None:
    outputs, (call,) = run(script("convert", "Parts of the list"), workspace)
    assert outputs == {"matrix": '{"include": []}'}
    assert call.endswith("ghcr.io/ann/embconvert batch models.yaml --list_json --shards 3")
    _, calls = run(script("convert", "Convert"), workspace)
    words = "batch models.yaml --shard 2/3 --output_parent_dir /models --json"
    assert calls[-1].endswith(f"ghcr.io/ann/embconvert {words}")
    assert (workspace / "checkout/fleet-models/batch.json").exists()
