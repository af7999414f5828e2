"""What people do with the image."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support import zoo
from support.containers import HARDENED, IMAGE, docker, python, readable, run
from support.hub_server import HubServer

pytestmark = pytest.mark.usefixtures("image")


def manifest(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "embconvert.json").read_text())
    return facts


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(p.stat().st_uid, p.stat().st_gid) for p in folder.rglob("*")}


def test_the_real_model_is_converted_and_verified(real_source: Path, models: Path) -> None:
    done = run(
        *HARDENED, "-v", f"{models}:/models", "-v", f"{real_source}:/input/all-MiniLM-L6-v2:ro",
        words=("all", "--model_id", "/input/all-MiniLM-L6-v2", "--quantize", "QInt8"),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.stdout == "models/all-MiniLM-L6-v2\n"
    folder = models / "all-MiniLM-L6-v2"
    cosines = {
        a["path"]: a["fidelity"]["similarity"]["mean"] for a in manifest(folder)["artifacts"]
    }
    assert cosines["onnx/model.onnx"] > 0.99999
    assert cosines["onnx/model_opt1_QInt8.onnx"] > 0.98
    assert owners(folder) == {(1000, 0)}
    before = done.stderr.split("file  ")[0].splitlines()
    said = [line for line in before if "the machine was busy" not in line]
    assert "%" not in "".join(said), "progress is lines without a terminal"


def test_its_graphs_are_byte_for_byte_those_of_another_machine_of_the_kind(
    real_source: Path, models: Path, tmp_path: Path
) -> None:
    """The checkout beside it: another user, home, folder and system."""
    words = ("--quantize", "Q8,QInt8,Float16", "--skip_validation", "--quiet")
    done = run(
        *HARDENED, "-v", f"{models}:/models", "-v", f"{real_source}:/input/all-MiniLM-L6-v2:ro",
        words=("all", "--model_id", "/input/all-MiniLM-L6-v2", *words),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    subprocess.run(
        [sys.executable, "-m", "embconvert", "all", "--model_id", real_source, *words,
         "--output_parent_dir", tmp_path], check=True,
    )  # fmt: skip
    here, there = (
        {a["path"]: a["sha256"] for a in manifest(folder)["artifacts"]}
        for folder in (tmp_path / real_source.name, models / "all-MiniLM-L6-v2")
    )
    assert len(here) == 5
    assert here == there


@pytest.mark.parametrize(("user", "group"), [(4321, 4321), (1000650000, 0)])
def test_any_user_may_run_it_and_owns_the_files(
    user: int, group: int, tiny_source: Path, models: Path
) -> None:
    """The second is what OpenShift does; neither has an entry in /etc/passwd."""
    os.chown(models, user, group)
    done = run(
        *HARDENED, "--user", f"{user}:{group}", "-v", f"{models}:/models",
        "-v", f"{tiny_source}:/input/tiny:ro",
        words=("all", "--model_id", "/input/tiny", "--quantize", "QInt8", "--min_cosine", 0.5),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert owners(models) == {(user, group)}


def test_without_a_volume_it_still_runs(tiny_source: Path) -> None:
    done = run("-v", f"{tiny_source}:/input/tiny:ro", words=("export", "--model_id", "/input/tiny"))
    assert done.code == 0, done.stderr


def test_a_second_run_downloads_nothing(hub: HubServer, tiny_source: Path, models: Path) -> None:
    hub.add_model("somebody/tiny", tiny_source)
    mount = ("-v", f"{models}:/models", "-e", f"HF_ENDPOINT={hub.url}", *HARDENED)
    first = run(*mount, words=("export", "--model_id", "somebody/tiny"), network="host")
    assert first.code == 0, first.stderr
    assert (models / ".cache/huggingface/hub/models--somebody--tiny").is_dir()
    sent = len(hub.files_sent())
    assert sent > 0
    words = ("all", "--model_id", "somebody/tiny", "--quantize", "Float16")
    second = run(*mount, words=words, network="host")
    assert second.code == 0, second.stderr
    assert len(hub.files_sent()) == sent
    offline = run(*mount, words=(*words, "--offline"))
    assert offline.code == 0, offline.stderr


def test_a_volume_that_cannot_be_written_comes_with_its_cure(
    tiny_source: Path, models: Path
) -> None:
    os.chown(models, 0, 0)
    models.chmod(0o755)
    arguments = ("-v", f"{models}:/models", "-v", f"{tiny_source}:/input/tiny:ro")
    words = ("export", "--model_id", "/input/tiny", "--skip_validation")
    done = run(*arguments, words=words)
    assert done.code == 9
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert "Permission denied" in error
    assert hint.endswith(f"docker run --user $(stat -c %u:%g {models})")
    assert run("--user", "0:0", *arguments, words=words).code == 0


@pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("INT", 130)])
def test_a_signal_ends_it_at_once_and_leaves_nothing(
    signal: str, code: int, real_source: Path, models: Path
) -> None:
    name = f"embconvert-test-{os.getpid()}"
    done = docker(
        "run", "--detach", "--name", name, "--network", "none", "-v", f"{models}:/models",
        "-v", f"{real_source}:/input/real:ro", IMAGE, "export", "--model_id", "/input/real",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    try:
        deadline = time.monotonic() + 60
        while not any(models.glob(".real.embconvert-staging-*/onnx/model.onnx")):
            assert time.monotonic() < deadline, docker("logs", name).stderr
            time.sleep(0.05)
        start = time.monotonic()
        if signal == "TERM":
            docker("stop", "--time", "60", name)
        else:
            docker("kill", "--signal", signal, name)
        assert docker("wait", name).stdout.strip() == str(code)
        assert time.monotonic() - start < 2
        assert list(models.iterdir()) == []
    finally:
        docker("rm", "--force", name)


def test_a_signal_in_the_first_moment_counts_too() -> None:
    """Process 1 gets no signal that it has no handler for."""
    code = "import os, runpy; os.kill(1, 15); runpy.run_path('/app/entrypoint.py')"
    done = docker("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", code)
    assert done.code != 143, "this is how it would be without a handler"
    wrapper = """
import runpy, sys, threading, os
class Killer:
    def find_spec(self, name, path=None, target=None):
        if name == "embconvert.cli.main":
            os.kill(1, 15)
sys.meta_path.insert(0, Killer())
sys.argv = ["entrypoint.py", "--help"]
runpy.run_path("/app/entrypoint.py", run_name="__main__")
"""
    done = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", wrapper
    )
    assert done.code == 143


def test_limits_of_the_container_are_seen(tiny_source: Path, models: Path) -> None:
    done = run(
        "--cpus", "1", "--memory", "700m", "-v", f"{models}:/models",
        "-v", f"{tiny_source}:/input/tiny:ro", words=("export", "--model_id", "/input/tiny"),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert (
        "warning: the conversion needs about 0.8 GB of memory, but the container's limit is 0.7 GB"
        in (done.stderr)
    )
    assert manifest(models / "tiny")["machine"]["cpus"] == 1
    threads = """
from embconvert.processes.resources import limit_threads, session_threads
limit_threads()
import torch
print(torch.get_num_threads(), session_threads())
"""
    assert python(threads, "--cpus", "1") == "1 1\n"


def test_too_little_memory_is_said_and_leaves_no_half_model(
    real_source: Path, models: Path
) -> None:
    done = run(
        "--memory", "250m", "--memory-swap", "250m", "-v", f"{models}:/models",
        "-v", f"{real_source}:/input/real:ro", words=("export", "--model_id", "/input/real"),
    )  # fmt: skip
    assert done.code in (5, 137), done.stderr
    assert "the conversion needs about 0.8 GB of memory" in done.stderr
    assert not (models / "real").exists()


@pytest.fixture(scope="module")
def large_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of bge-m3's shape, all 8,194 positions of it: 568 million random weights."""
    sizes = {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "vocab_size": 250_002, "max_position_embeddings": 8194,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("large") / "large"
    return readable(zoo.build_model("xlm-roberta", folder, pooling=None, overrides=sizes))


def test_a_model_of_568_million_parameters_converts_within_a_gib_and_a_half(
    large_source: Path, models: Path
) -> None:
    """As docs/memory.md promises: every precision from nothing, and more beside a finished file.

    Those two that calibrate for a minute are not made twice. `make bench-memory` verifies such a
    model, too, which takes minutes.
    """
    limits = (*HARDENED, "--memory", "1536m", "--memory-swap", "1536m")
    mounts = ("-v", f"{models}:/models", "-v", f"{large_source}:/input/large:ro")
    common = ("all", "--model_id", "/input/large", "--recipes", "none", "--skip_validation")
    most = "Float16,Q8,Q4,QInt8,QUInt8,QFLOAT8E4M3FN"
    every = f"{most},Q4F16,QInt8Static"
    for precisions, finished in ((every, False), ("Float16", False), (most, True)):
        if not finished:
            shutil.rmtree(models / "large", ignore_errors=True)
        done = run(*limits, *mounts, words=(*common, "--quantize", precisions))
        assert done.code == 0, done.stderr
        assert "lack of memory" not in done.stderr
        made = {artifact["precision"] for artifact in manifest(models / "large")["artifacts"]}
        assert made >= {*precisions.split(",")}
