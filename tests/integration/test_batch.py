"""A list of models, for real: what is missing is made, what stands costs one request."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Outcome, embconvert, files_in, wait_for
from support.hub_server import HubServer

pytestmark = pytest.mark.integration

LIST = """
defaults:
  skip_validation: true
  optimize: 0
models:
  - somebody/one
  - {broken}
  - model_id: {local}
    opset: {opset}
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, hub: HubServer) -> Path:
    """Where the list, a broken model and the hub cache are."""
    folder = tmp_path_factory.mktemp("fleet")
    hub.add_model("somebody/one", tiny_bert)
    shutil.copytree(tiny_bert, folder / "broken")
    (folder / "broken/model.safetensors").write_bytes(b"cut off")
    return folder


def batch(home: Path, hub: HubServer, local: Path, *arguments: object, opset: int = 17) -> Outcome:
    (home / "models.yaml").write_text(
        LIST.format(broken=home / "broken", local=local, opset=opset), encoding="utf-8"
    )
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "home"), "HF_HUB_OFFLINE": "0"}
    hub.requests.clear()
    return embconvert("batch", "models.yaml", *arguments, cwd=home, env=env)


def statuses(outcome: Outcome) -> list[str]:
    return [model["status"] for model in json.loads(outcome.stdout)["models"]]


def test_a_fleet_is_converted_once_and_then_again_where_it_changed(
    home: Path, hub: HubServer, tiny_bert: Path
) -> None:
    first = batch(home, hub, tiny_bert)
    assert first.code == 3, first.stderr
    assert first.stdout == "models/somebody/one\nmodels/tiny-bert\n"
    assert (
        f"error: models.yaml:7: {home / 'broken'}: model.safetensors is truncated" in first.stderr
    )
    assert "[3/3]" in first.stderr

    # Nothing changed: one request for the hub's model, and nothing is loaded.
    before = files_in(home / "models")
    second = batch(home, hub, tiny_bert, "--json")
    assert statuses(second) == ["up_to_date", "failed", "up_to_date"]
    assert [(r.method, r.path) for r in hub.requests] == [("GET", "/api/models/somebody/one")]
    assert "load the source" not in second.stderr
    assert files_in(home / "models") == before

    # A new commit, and another option.
    newer = home / "newer"
    shutil.copytree(tiny_bert, newer)
    (newer / "special_tokens_map.json").write_text("{}\n")
    commit = hub.add_model("somebody/one", newer)
    third = batch(home, hub, tiny_bert, "--json", opset=18)
    assert statuses(third) == ["converted", "failed", "converted"]
    models = json.loads(third.stdout)["models"]
    assert models[0]["revision"] == commit

    cache = home / "home/hub/models--somebody--one"
    assert cache.is_dir()

    # A file that is cut off is noticed; so is one that is gone.
    (home / "models/tiny-bert/onnx/model.onnx").write_bytes(b"half")
    (home / "models/somebody/one/config.json").unlink()
    fourth = batch(home, hub, tiny_bert, "--json", "--dry_run", opset=18)
    assert statuses(fourth) == ["to_do", "to_do", "to_do"]

    words = ("--json", "--offline", "--remove_downloads")
    offline = batch(home, hub, tiny_bert, *words, opset=18)
    assert statuses(offline) == ["converted", "failed", "converted"]
    assert hub.requests == []
    assert not cache.exists()


def start(folder: Path, models: list[Path]) -> "subprocess.Popen[str]":
    defaults = {"skip_validation": True, "optimize": 0, "output_parent_dir": str(folder / "out")}
    (folder / "models.json").write_text(
        json.dumps({"defaults": defaults, "models": [str(model) for model in models]})
    )
    return subprocess.Popen(
        [sys.executable, "-m", "embconvert", "batch", str(folder / "models.json")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def runner_of(process: "subprocess.Popen[str]") -> int:
    """The child that converts; the other one is multiprocessing's own."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(
        int(child)
        for child in children
        if b"processes.program" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def test_a_crash_costs_one_model_and_the_next_run_mends_it(tiny_bert: Path, tmp_path: Path) -> None:
    models = [tmp_path / "first", tmp_path / "second"]
    for model in models:
        shutil.copytree(tiny_bert, model)
    process = start(tmp_path, models)
    wait_for(process, "load the source")
    os.kill(runner_of(process), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (1, f"{tmp_path / 'out/second'}\n"), stderr
    assert "the system killed it, most likely for lack of memory" in stderr

    process = start(tmp_path, models)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["first", "second"]


@pytest.mark.parametrize("to_all", [True, False])
def test_a_signal_ends_it_and_leaves_nothing_unfinished(
    to_all: bool, tiny_bert: Path, tmp_path: Path
) -> None:
    """To all as a terminal's Ctrl-C, to one as Kubernetes' SIGTERM."""
    process = start(tmp_path, [tiny_bert])
    wait_for(process, "load the source")
    sent = time.monotonic()
    if to_all:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == (130 if to_all else 143)
    assert time.monotonic() - sent < 10
    assert "so far: nothing" in stderr
    assert not (tmp_path / "out").exists()
