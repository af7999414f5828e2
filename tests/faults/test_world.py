"""Where the world is not as it is at a developer's: users, locales, streams, clocks, memory."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import ROOT, files_in
from support.faulty_runs import Runner

pytestmark = pytest.mark.integration

EMBCONVERT = (sys.executable, "-m", "embconvert")
NAME = "mödel-模型"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to limit memory")


def command(model: Path, parent: Path, *options: str) -> list[str]:
    words = ("export", "--model_id", model, "--output_parent_dir", parent, "--skip_validation")
    return [str(word) for word in (*EMBCONVERT, *words, *options)]


def environment(**changes: str | None) -> dict[str, str]:
    values = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **changes}
    return {name: value for name, value in values.items() if value is not None}


def test_a_user_without_an_entry_or_a_home_converts(tiny_bert: Path, tmp_path: Path) -> None:
    unknown = ["unshare", "--user", "--map-user=54321"]
    home = environment(HOME=None, HF_HOME=None, USER=None, LOGNAME=None)
    whoami = subprocess.run([*unknown, "whoami"], capture_output=True, check=False)
    assert whoami.returncode != 0, "it has an entry"
    done = subprocess.run(
        [*unknown, *command(tiny_bert, tmp_path)], env=home, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny-bert" / "embconvert.json").exists()


def test_names_that_the_locale_cannot_say_are_no_problem(tiny_bert: Path, tmp_path: Path) -> None:
    model, parent = tmp_path / NAME, tmp_path / "öut"
    shutil.copytree(tiny_bert, model)
    plain = environment(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    done = subprocess.run(command(model, parent), env=plain, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (parent / NAME / "embconvert.json").exists()
    assert done.stdout.decode("utf-8", "surrogateescape").rstrip() == str(parent / NAME)
    (model / "config.json").write_text("ü", encoding="utf-8")
    refused = subprocess.run(command(model, parent), env=plain, capture_output=True, check=False)
    assert refused.returncode == 3
    assert b"error: config.json is not JSON" in refused.stderr
    assert b"Traceback" not in refused.stderr


def test_closed_streams_are_no_problem_and_no_file_takes_their_place(
    tiny_bert: Path, tmp_path: Path
) -> None:
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command(tiny_bert, tmp_path, "--debug")],
        env=environment(), check=False,
    )  # fmt: skip
    assert closed.returncode == 0
    usual = tmp_path / "usual"
    assert subprocess.run(command(tiny_bert, usual), env=environment(), check=False).returncode == 0
    ours, theirs = files_in(tmp_path / "tiny-bert"), files_in(usual / "tiny-bert")
    del ours["embconvert.json"], theirs["embconvert.json"]  # times and memory
    assert ours == theirs


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_ends_the_run_as_everywhere(
    stream: str, tiny_bert: Path, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    process = subprocess.Popen(
        command(tiny_bert, tmp_path), env=environment(), text=True,
        stdout=streams["stdout"], stderr=streams["stderr"],
    )  # fmt: skip
    os.close(writer)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 141
    assert "Traceback" not in (said or "")
    assert [p.name for p in tmp_path.iterdir()] == (["tiny-bert"] if stream == "stdout" else [])


def test_a_terminal_shows_a_bar_and_survives_that_it_closes(
    tiny_bert: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [w for w in command(tiny_bert, tmp_path) if w != "--skip_validation"], env=environment(),
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 1 << 16):
            said += part
    process.communicate(timeout=120)
    assert process.returncode == 0, said
    bars = (b"load the source model", b"trace onnx/model.onnx", b"verifying onnx/model.onnx")
    assert all(bar + b" \x1b" in said for bar in bars), "each has a bar"
    assert b" s of about " in said
    os.close(ours)


def test_a_clock_that_jumps_changes_nothing(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    run = runner.run(
        tmp_path, "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
        "--quantize", "QInt8", "--skip_validation", "--json", clock_jumps=True,
    )  # fmt: skip
    assert run.code == 0, run.stderr
    graphs = run.manifest["artifacts"]
    assert len(graphs) == 3
    assert all(0 < graph["duration_s"] < 600 for graph in graphs)


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """A control group below this process's own, of either version."""
    root = Path("/sys/fs/cgroup")
    own = dict(
        line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()
    )
    parent = root / "memory" / own["memory"].lstrip("/") if "memory" in own else root
    group = parent / f"embconvert-{os.getpid()}"
    group.mkdir()
    try:
        version_1 = group / "memory.limit_in_bytes"
        (version_1 if version_1.exists() else group / "memory.max").write_text(str(limit_bytes))
        yield group
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)  # workers end a moment after their parent
        group.rmdir()


@needs_root
def test_too_little_memory_is_said_before_and_when_it_ran_out(
    tiny_bert: Path, tmp_path: Path
) -> None:
    with memory_group(200 << 20) as group:
        done = subprocess.run(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh",
             *command(tiny_bert, tmp_path)],
            env=environment(), capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "warning: the conversion needs about 0.6 GB of memory, but the container" in done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("error: the process with the source model ended: the system killed it")
    assert "more memory" in hint
    assert list(tmp_path.iterdir()) == []


def test_memory_that_the_system_refuses_is_an_error_and_no_bug(
    tiny_bert: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -v 500000; exec "$@"', "sh", *command(tiny_bert, tmp_path)],
        env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert "memory" in error
    assert "memory" in hint
    assert list(tmp_path.iterdir()) == []
