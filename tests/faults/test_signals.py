"""Every signal that asks a run to end does so in order, at any moment; stopping changes nothing."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embconvert.processes.stops import measured, notice_stops
from support.command_line import ROOT, files_in, wait_for
from support.fault_bench import OURS, SCENARIOS, Bench, moments
from support.faulty_runs import NOBODY, Runner

pytestmark = pytest.mark.integration

ENDING = ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **changes}


def default_signals() -> None:
    """Else what started the tests decides: a shell's `&` ignores two of them."""
    for name in (*ENDING, "SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def start(*words: object, prepare: Callable[[], Any] = lambda: None) -> "subprocess.Popen[str]":
    def prepare_child() -> None:
        default_signals()
        prepare()

    return subprocess.Popen(
        [sys.executable, "-m", "embconvert", *map(str, words)], text=True, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=prepare_child,  # noqa: PLW1509 - the tests have no threads
    )  # fmt: skip


IMPORTED = """
import os, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
sys.argv = ["embconvert", "version"]
{start}
"""
module, _, function = SCRIPTS["embconvert"].partition(":")
STARTS = {
    "module": 'import runpy; runpy.run_module("embconvert", run_name="__main__", alter_sys=True)',
    "script": f"from {module} import {function}; {function}()",
    "image": f"import runpy; runpy.run_path({str(ROOT / 'entrypoint.py')!r}, run_name='__main__')",
}


@pytest.mark.parametrize("imported", ["embconvert.cli.main", "embconvert.request.options"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", *ENDING])
@pytest.mark.parametrize("how", STARTS)
def test_a_signal_while_the_command_line_is_imported(how: str, name: str, imported: str) -> None:
    number = getattr(signal, name)
    code = IMPORTED.format(module=imported, number=int(number), start=STARTS[how])
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True,
        check=False, preexec_fn=default_signals, cwd="/",
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr.startswith("error: interrupted\nhint: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ENDING)
def test_a_signal_at_any_event_ends_in_order_and_leaves_no_litter(
    name: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    bench = Bench(runner, tiny_bert, SCENARIOS["replacing"], tmp_path)
    chosen = moments(bench.events)
    for left in chosen if len(chosen) > 10 else chosen[:: len(chosen) // 2]:
        bench.reset()
        ended = bench.go(left=left, act=name)
        assert ended.code == 128 + getattr(signal, name), (bench.events[left], ended.stderr)
        assert len(ended.errors) == 1
        assert "Traceback" not in ended.stderr
        bench.assert_old_or_new()
        assert [p.name for p in bench.parent.iterdir()] == [OURS], bench.events[left]


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_to_the_whole_group_prints_no_traceback_of_any_process(
    name: str, after: float, tiny_bert: Path, tmp_path: Path
) -> None:
    """As a terminal sends it; the workers may just be starting."""
    out = tmp_path / "out"
    process = start("export", "--model_id", tiny_bert, "--output_parent_dir", out)
    wait_for(process, "load the source")
    time.sleep(after)
    os.killpg(process.pid, getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name), said
    assert said.splitlines()[-2:] == [
        "error: interrupted",
        "hint: nothing incomplete was published, and unfinished work is removed; run the command "
        "again",
    ]
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_batch_and_its_processes_end_in_order(name: str, tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(f"models: [{tiny_bert}]\n")
    out = tmp_path / "out"
    process = start("batch", tmp_path / "models.yaml", "--output_parent_dir", out)
    wait_for(process, "load the source")
    assert list(out.glob(".tiny-bert.embconvert-staging-*")), "it works there"
    os.killpg(process.pid, getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name), said
    assert "Traceback" not in said
    assert not out.exists()


def test_a_second_signal_does_not_interrupt_the_clean_up(tiny_bert: Path, tmp_path: Path) -> None:
    """A service manager and a terminal that closes send several at a time."""
    out = tmp_path / "out"
    process = start("export", "--model_id", tiny_bert, "--output_parent_dir", out)
    wait_for(process, "load the source")
    for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT"):
        os.killpg(process.pid, getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode > 128, said
    assert "Traceback" not in said
    assert not out.exists()


def test_what_was_ignored_at_the_start_stays_ignored(tiny_bert: Path, tmp_path: Path) -> None:
    """`nohup embconvert ...` goes on when the terminal closes."""
    process = start(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation",
        prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    wait_for(process, "load the source")
    os.killpg(process.pid, signal.SIGHUP)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_a_terminal_that_is_gone_still_gets_the_exit_code(tiny_bert: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "embconvert", "export", "--model_id", str(tiny_bert),
         "--output_parent_dir", str(out)],
        env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=default_signals,  # noqa: PLW1509
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"load the source" not in said:
        said += os.read(ours, 1 << 12)
    os.close(ours)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(30) == 129
    assert not out.exists()


def test_a_run_that_is_stopped_and_continued_ends_right(tiny_bert: Path, tmp_path: Path) -> None:
    words = ("export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path)
    process = start(*words)
    wait_for(process, "load the source")
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        other = start(*words)
        wait_for(other, "waiting for another run")  # its lock is held
        time.sleep(1)
        assert other.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    for run in (process, other):
        _, said = run.communicate(timeout=120)
        assert run.returncode == 0, said
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-bert"]


def test_what_is_timed_while_stopped_is_timed_again() -> None:
    code = """
import os, signal, subprocess
from embconvert.processes.stops import measured, notice_stops
notice_stops()
runs = []
def work():
    runs.append(1)
    if len(runs) == 1:
        subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
    return len(runs)
print(measured(work))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    result, duration_s = json.loads(done.stdout.replace("(", "[").replace(")", "]"))
    assert result == 2
    assert duration_s < 0.5


def test_what_is_stopped_again_and_again_gets_a_figure_nevertheless() -> None:
    before = signal.getsignal(signal.SIGCONT)
    try:
        notice_stops()
        runs: list[int] = []

        def work() -> None:
            runs.append(1)
            os.kill(os.getpid(), signal.SIGCONT)

        assert measured(work)[1] > 0
        assert len(runs) < 10
    finally:
        signal.signal(signal.SIGCONT, before)


def limited(limit: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(limit, (value, value))


def test_cpu_time_that_is_used_up_is_said(tiny_bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(
        "export", "--model_id", tiny_bert, "--output_parent_dir", out,
        # One second for work, one for cleaning up: less than importing torch takes anywhere.
        prepare=limited(resource.RLIMIT_CPU, 2),
    )  # fmt: skip
    _, said = process.communicate(timeout=120)
    assert process.returncode in (5, 128 + signal.SIGXCPU), said
    *_, error, hint = said.splitlines()
    assert "CPU time" in error
    assert "`ulimit -t`" in error
    assert "memory" not in said
    assert hint == "hint: raise the limit and run the command again"
    assert not out.exists()


@pytest.mark.parametrize("blocks", [1, 40, 100])
def test_a_limit_of_file_sizes_is_an_output_error(
    blocks: int, tiny_bert: Path, tmp_path: Path
) -> None:
    assert (tiny_bert / "model.safetensors").stat().st_size > 100 << 10
    out = tmp_path / "out"
    process = start(
        "all", "--model_id", tiny_bert, "--output_parent_dir", out, "--quantize", "QInt8",
        prepare=limited(resource.RLIMIT_FSIZE, blocks << 10),
    )  # fmt: skip
    _, said = process.communicate(timeout=120)
    assert process.returncode == 9, said
    *_, error, hint = said.splitlines()
    assert "`ulimit -f` allows" in error
    assert hint == "hint: raise the limit: ulimit -f unlimited"
    assert "Traceback" not in said
    assert not out.exists()


def test_too_few_open_files_are_said_before_work_starts(tmp_path: Path) -> None:
    process = start(
        "export", "--model_id", "org/x", "--output_parent_dir", tmp_path / "out",
        prepare=limited(resource.RLIMIT_NOFILE, 64),
    )  # fmt: skip
    _, said = process.communicate(timeout=60)
    assert process.returncode == 9
    assert said == (
        "error: `ulimit -n` allows 64 open files, but embconvert needs 256\n"
        "hint: raise the limit: ulimit -n 256\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_low_limit_of_open_files_that_may_be_raised_is_raised(
    tiny_bert: Path, tmp_path: Path
) -> None:
    process = start(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation",
        prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 4096)),
    )  # fmt: skip
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 8])
def test_too_few_processes_are_an_error_and_no_bug(
    processes: int, runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    shutil.copytree(tiny_bert, everybodys / OURS)
    (everybodys / OURS / "model.safetensors").chmod(0o644)
    out = everybodys / "out"
    out.mkdir()
    out.chmod(0o777)
    run = runner.run(
        out, "export", "--model_id", everybodys / OURS, "--output_parent_dir", out,
        "--skip_validation", user=NOBODY, processes=processes,
    )  # fmt: skip
    if processes == 1:
        assert run.code == 9
    if run.code:
        assert run.code in (5, 6, 7, 9), run.stderr
        assert len(run.errors) == 1
        assert "`ulimit -u`" in run.errors[0]
        assert "Traceback" not in run.stderr
        assert list(out.iterdir()) == []


LEFT = ("staging", "staging-0011aabb", "trash-0011aabb", "old-0011aabb")


def test_the_next_run_clears_what_a_killed_run_left(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """What SIGKILL leaves at any time."""
    words = (
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation",
    )  # fmt: skip
    assert runner.run(tmp_path, *words).code == 0
    usual = set(files_in(tmp_path))
    folder = tmp_path / OURS
    for kind in LEFT:
        left = tmp_path / f".{OURS}.embconvert-{kind}"
        (left / "onnx").mkdir(parents=True)
        (left / "onnx" / "model.onnx").write_bytes(b"half a graph")
        (left / "embconvert.json").write_text('{"schema_version": 0')
    (tmp_path / f".{OURS}.embconvert-lock").touch()
    for name in (".embconvert.json.new", ".report.html.new", ".README.md.new"):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").write_text("the user's own")
    (tmp_path / f".{OURS}x.embconvert-staging-0011aabb").mkdir()  # another model's
    again = runner.run(tmp_path, *words)
    assert again.code == 0, again.stderr
    assert "is up to date" in again.stderr
    assert set(files_in(tmp_path)) == usual | {f"{OURS}/notes.txt"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f".{OURS}x.embconvert-staging-0011aabb", OURS,
    ]  # fmt: skip


def test_a_stage_of_an_older_version_without_an_end_is_continued(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    words = (
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation",
        "--quantize", "QInt8",
    )  # fmt: skip
    events = runner.run(tmp_path, *words).events
    shutil.rmtree(tmp_path / OURS)
    # What runs beside it may have been counted in another order, but the first graph is recorded.
    late = events.index("main end quantize_graph")
    assert runner.run(tmp_path, *words, left=late).code == -9
    (left,) = tmp_path.glob(f".{OURS}.embconvert-staging-*")
    left.rename(tmp_path / f".{OURS}.embconvert-staging")
    again = runner.run(tmp_path, *words)
    assert again.code == 0, again.stderr
    assert "model.onnx is up to date" in again.stderr
    assert [p.name for p in tmp_path.iterdir()] == [OURS]
