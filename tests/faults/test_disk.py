"""A disk that is full, read-only, taken away or not ours: exit 9, one clear error, nothing lost."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fault_bench import OURS, SCENARIOS, Bench, moments
from support.faulty_runs import NOBODY, Run, Runner, small_disk

pytestmark = pytest.mark.integration

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount disks")


def assert_refused(run: Run, message: str = "") -> None:
    assert run.code == 9, run.stderr
    assert len(run.errors) == 1
    assert message in run.errors[0]
    assert run.stderr.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("act", ["ENOSPC", "EIO", "EACCES"])
@pytest.mark.parametrize("scenario", ["replacing", "continuing"])
def test_a_disk_that_refuses_at_any_moment_loses_nothing(
    act: str, scenario: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    bench = Bench(runner, tiny_bert, SCENARIOS[scenario], tmp_path)
    refused = 0
    for left in moments(bench.events):
        bench.reset()
        run = bench.go(left=left, act=act)
        assert run.code in (0, 9), (left, bench.events[left], run.stderr)
        if run.code == 9:
            refused += 1
            assert_refused(run)
        bench.assert_old_or_new()
        assert [p.name for p in bench.parent.iterdir()] == [OURS], (left, bench.events[left])
    assert refused > 0
    assert bench.go().code == 0
    bench.assert_new()


def test_a_folder_that_is_removed_under_the_run_is_an_output_error(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    bench = Bench(runner, tiny_bert, SCENARIOS["new"], tmp_path)
    for left in moments(bench.events):
        bench.reset()
        run = bench.go(left=left, act="remove")
        assert run.code in (0, 9), (left, bench.events[left], run.stderr)
        if run.code == 9:
            assert_refused(run)
            left_over = list(bench.parent.rglob("*")) if bench.parent.exists() else []
            assert left_over == [], bench.events[left]
        else:
            assert "swap" not in bench.events[left]
            assert not (bench.parent / OURS).exists() or bench.state(bench.parent / OURS)


@needs_root
def test_no_size_of_disk_leaves_anything_but_the_old_state_or_the_new_one(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    source = sum(path.stat().st_size for path in tiny_bert.rglob("*"))
    sizes = [f"size={int(source * share) >> 10}k" for share in (0.05, 0.5, 1.1, 1.6, 2.2, 9)]
    codes = []
    for options in [*sizes, *(f"nr_inodes={n}" for n in (3, 8, 15, 21, 40))]:
        disk = tmp_path / "disk"
        with small_disk(disk, options):
            run = runner.run(
                disk, "all", "--model_id", tiny_bert, "--output_parent_dir", disk / "out",
                "--optimize", 2, "--quantize", "QInt8", "--skip_validation",
            )  # fmt: skip
            codes.append(run.code)
            if run.code == 9:
                assert_refused(run, "disk of")
                assert list(disk.iterdir()) == []
            else:
                assert run.code == 0, (options, run.stderr)
                assert Bench.state(disk / "out" / OURS).count("@") == 3
    assert codes == sorted(codes[:6], reverse=True) + sorted(codes[6:], reverse=True)
    assert (codes[0], codes[5], codes[6], codes[-1]) == (9, 0, 9, 0)


@needs_root
def test_the_needed_room_is_said_before_work_starts(
    runner: Runner, minilm: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "size=100m"):
        run = runner.run(
            tmp_path, "all", "--model_id", minilm, "--output_parent_dir", tmp_path / "disk",
            "--skip_validation",
        )  # fmt: skip
        assert_refused(run, "too little space: about 0.2 GB are needed, 0.1 GB are free")
    assert not [event for event in run.events if "begin" in event]


def read_only(parent: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", parent], check=True)


def of_somebody_else(parent: Path) -> None:
    parent.chmod(0o755)


def with_a_folder_of_somebody_else(parent: Path) -> None:
    parent.chmod(0o777)
    (parent / OURS).mkdir()


def out_of_reach(parent: Path) -> None:
    parent.chmod(0o700)


@needs_root
@pytest.mark.parametrize(
    "spoil", [read_only, of_somebody_else, with_a_folder_of_somebody_else, out_of_reach]
)
def test_what_may_not_be_written_is_refused_with_the_way_out(
    spoil: Callable[[Path], None], runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    shutil.copytree(tiny_bert, everybodys / OURS)
    disk = everybodys / "disk"
    with small_disk(disk, "size=10m,mode=755"):
        spoil(disk)
        run = runner.run(
            disk, "export", "--model_id", everybodys / OURS, "--output_parent_dir", disk,
            "--skip_validation", user=NOBODY,
        )  # fmt: skip
        assert_refused(run, "cannot be written")
        assert "hint: choose another --output_parent_dir" in run.stderr
        assert "chown" not in run.stderr


@needs_root
def test_weights_that_may_not_be_read_are_named(
    runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    shutil.copytree(tiny_bert, everybodys / OURS)
    weights = everybodys / OURS / "model.safetensors"
    weights.chmod(0o600)
    run = runner.run(
        everybodys, "export", "--model_id", everybodys / OURS, "--dry_run", user=NOBODY
    )
    assert run.errors == [f"error: {weights} cannot be read: Permission denied"]
    assert run.code == 3


@needs_root
def test_a_folder_that_a_volume_is_mounted_on_is_refused_and_stays(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / OURS, "size=10m"):
        (tmp_path / OURS / "notes.txt").write_text("the user's own")
        run = runner.run(
            tmp_path, "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
            "--skip_validation",
        )  # fmt: skip
        assert_refused(run, "something is mounted there")
        assert [p.name for p in (tmp_path / OURS).iterdir()] == ["notes.txt"]
    assert [p.name for p in tmp_path.iterdir()] == [OURS]
