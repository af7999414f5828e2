"""Killed at any moment, a run leaves the old complete state or the new one, and no litter."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embconvert.folder.exchange import staged_folders
from embconvert.folder.published import read_manifest
from embconvert.folder.staging import read_journals
from embconvert.graph.streams import hash_file
from support.command_line import embconvert, files_in, wait_for

pytestmark = pytest.mark.integration

STAGES = ("load the source", "optimize onnx", "quantize onnx")


def start(model: Path, parent: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "embconvert", "all", "--model_id", str(model),
         "--output_parent_dir", str(parent), "--quantize", "QInt8", "--skip_validation"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def assert_complete(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    for record in manifest.artifacts:
        assert hash_file(folder / record.path) == record.sha256


@pytest.mark.parametrize("stage", STAGES)
def test_after_kill_9_nothing_is_visible_and_the_next_run_completes(
    stage: str, tiny_bert: Path, tmp_path: Path
) -> None:
    process = start(tiny_bert, tmp_path)
    wait_for(process, stage)
    process.kill()
    process.wait()
    assert not (tmp_path / "tiny-bert").exists()

    again = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "QInt8",
        "--skip_validation",
    )  # fmt: skip
    assert again.code == 0, again.stderr
    assert_complete(tmp_path / "tiny-bert")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-bert"]


def test_what_was_finished_before_kill_9_is_not_done_again(tiny_bert: Path, tmp_path: Path) -> None:
    process = start(tiny_bert, tmp_path)
    while not (journals := read_journals(staged_folders(tmp_path / "tiny-bert"))):
        assert process.poll() is None
    process.kill()
    process.wait()
    again = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--quantize", "QInt8",
        "--skip_validation",
    )  # fmt: skip
    finished = [record.path for journal, _ in journals for record in journal.artifacts]
    assert finished
    for file in finished:
        assert f"{file} is up to date" in again.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_keeps_the_old_state(stage: str, tiny_bert: Path, tmp_path: Path) -> None:
    first = embconvert(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--opset", 18,
        "--skip_validation",
    )  # fmt: skip
    assert first.code == 0, first.stderr
    before = files_in(tmp_path / "tiny-bert")
    process = start(tiny_bert, tmp_path)
    wait_for(process, stage)
    process.kill()
    process.wait()
    assert files_in(tmp_path / "tiny-bert") == before
    assert_complete(tmp_path / "tiny-bert")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_quickly_and_removes_what_was_staged(
    number: signal.Signals, code: int, tiny_bert: Path, tmp_path: Path
) -> None:
    process = start(tiny_bert, tmp_path / "out")
    wait_for(process, "load the source")
    time.sleep(0.2)  # torch is being imported
    sent = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does; workers must leave it to the parent
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - sent < 10
    assert stderr.splitlines()[-2:] == [
        "error: interrupted",
        "hint: nothing incomplete was published, and unfinished work is removed; run the command "
        "again",
    ]
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once_wait_for_each_other(tiny_bert: Path, tmp_path: Path) -> None:
    processes = [start(tiny_bert, tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("waiting" in stderr for _, stderr in outputs) == 1
    assert_complete(tmp_path / "tiny-bert")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-bert"]
    manifest = json.loads((tmp_path / "tiny-bert" / "embconvert.json").read_text())
    assert len(manifest["artifacts"]) == 3
