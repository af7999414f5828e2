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
from packaging.requirements import Requirement

from embconvert import __version__
from embconvert.models.choices import Command
from embconvert.request.options import options_of
from support.command_line import ROOT

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
    "github.server_url": "https://github.com",
    "github.run_id": "77",
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
    "gh": """#!/bin/sh
echo "gh $*" >>"$CALLS"
case $* in *list*) cat open-issue 2>/dev/null || true ;; esac
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


def test_a_failure_of_the_newest_packages_opens_one_issue_and_updates_it(workspace: Path) -> None:
    report = script("newest", "Report")
    _, (search, call) = run(report, workspace)
    title = "The tests fail with packages that the wheel or its next release allows"
    assert f'in:title "{title}"' in search
    link = "https://github.com/ann/embconvert/actions/runs/77"
    assert call.startswith(f"gh issue create --title {title} --body {link} ")

    (workspace / "checkout/open-issue").write_text("12\n")
    _, calls = run(report, workspace)
    assert calls[-1].startswith(f"gh issue comment 12 --body {link} ")


def test_what_may_publish_runs_no_code_of_the_repository() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write", "attestations": "write"}
    assert publish["environment"] == "pypi"
    assert set(publish["needs"]) == {"image", "wheel"}
    assert all("uses" in step and "checkout" not in step["uses"] for step in publish["steps"])
    assert workflow["jobs"]["wheel"]["permissions"] == {"contents": "read"}


def test_what_the_newest_packages_run_can_write_nothing() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/newest.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    writing = [
        name for name, job in workflow["jobs"].items() if "write" in job["permissions"].values()
    ]
    assert writing == ["report"]
    assert not any("uses" in step for step in workflow["jobs"]["report"]["steps"])


def test_the_newest_packages_are_those_that_the_locks_are_made_of(workspace: Path) -> None:
    """The target's own command, without its installation."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = next(line for line in makefile.splitlines() if ">$(NEWEST)/names" in line)
    shell = command.replace("$(NEWEST)", str(workspace)).replace("$$", "$")
    subprocess.run(["sh", "-c", shell], cwd=ROOT, check=True)
    names = (workspace / "names").read_text().split()
    assert {"torch", "transformers", "onnx-ir", "PyYAML", "pytest"} <= set(names)
    assert not [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)]


def test_the_lowest_packages_are_the_lower_bounds_and_the_lock_is_within_them(
    workspace: Path,
) -> None:
    """The target's own commands, without its installation."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [line for line in makefile.splitlines() if ">build/" in line and "est.txt" in line]
    shell = "\n".join(lines).replace("build/", f"{workspace}/").replace("$$", "$")
    subprocess.run(["sh", "-c", shell], cwd=ROOT, check=True)
    lowest = map(Requirement, (workspace / "lowest.txt").read_text().split())
    locked = dict(
        re.findall(r"^([\w-]+)==([^ ]+)", (ROOT / "requirements/runtime.txt").read_text(), re.M)
    )
    ranges = {r.name: r.specifier for r in map(Requirement, wheel_requirements(workspace))}
    assert len(ranges) > 20
    for requirement in lowest:
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        allowed = ranges.pop(requirement.name)
        assert allowed.contains(pin.version), requirement
        assert allowed.contains(locked[requirement.name.lower()]), requirement
        assert not allowed.contains("10000"), requirement
    assert not ranges


def wheel_requirements(workspace: Path) -> list[str]:
    return (workspace / "highest.txt").read_text().split()


def test_every_option_of_a_conversion_is_an_input_of_the_action_in_the_same_words() -> None:
    action = yaml.safe_load((ROOT / ".github/actions/convert/action.yml").read_text("utf-8"))
    # Where things go and how much is said is the action's own business; two are the default.
    own = {
        "output_parent_dir", "cache_dir", "offline", "dry_run", "json", "quiet", "debug",
        "device", "per_channel", "reduce_range",
    }  # fmt: skip
    options = options_of(Command.ALL)
    assert set(options) - own <= set(action["inputs"])
    of_the_workspace = {"model_id", "calibration_dataset", "evaluate"}
    for name in (options.keys() & action["inputs"].keys()) - of_the_workspace:
        words = options[name].help
        if options[name].is_flag:
            words = words.removesuffix(".") + ' ("true").'
        assert action["inputs"][name]["description"] == words


def test_the_action_mounts_what_is_in_the_workspace(workspace: Path) -> None:
    for name in ("my-model", "lora", "other/lora", "data"):
        (workspace / name).mkdir(parents=True)
    env = {
        "PATH": f"{workspace / 'bin'}:{os.environ['PATH']}", "CALLS": str(workspace / "calls"),
        "GITHUB_OUTPUT": str(workspace / "output"), "EMBCONVERT_IMAGE": "embconvert",
        "GITHUB_STEP_SUMMARY": str(workspace / "summary.md"), "MODELS_DIR": "models",
        "OPTION_MODEL_ID": "./my-model", "OPTION_EVALUATE": "data",
        "OPTION_ADAPTER": "lora=0.5, ./other/lora,org/more@main,retrieval",
    }  # fmt: skip
    script = ROOT / ".github/actions/convert/convert.sh"
    subprocess.run(["bash", script], cwd=workspace, env=env, check=True, capture_output=True)
    (call,) = (workspace / "calls").read_text().splitlines()
    inside = dict(re.findall(r"--volume (\S+):(/input/\S+):ro", call))
    paths = [inside[str(workspace / name)] for name in ("my-model", "lora", "other/lora", "data")]
    assert len(set(paths)) == 4
    model, lora, other, data = paths
    assert Path(model).name == "my-model", "the output folder gets this name"
    assert call.endswith(
        f"embconvert all --json --adapter {lora}=0.5,{other},org/more@main,retrieval "
        f"--evaluate {data} --model_id {model}"
    )
