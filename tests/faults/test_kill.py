"""Whenever a run is ended, the output folder is the old complete state or the new one.

Every event of a run (events.py) is a moment to end it. CI tries some of them, spread over all
kinds; `make test-faults` tries every one.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fault_bench import OURS, SCENARIOS, Bench, moments
from support.faulty_runs import Runner

pytestmark = pytest.mark.integration


@pytest.fixture(params=SCENARIOS)
def bench(
    request: pytest.FixtureRequest, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> Iterator[Bench]:
    yield Bench(runner, tiny_bert, SCENARIOS[request.param], tmp_path)


def test_kill_9_leaves_the_old_state_or_the_new_one_and_the_next_run_goes_on(bench: Bench) -> None:
    assert len(bench.events) > 20
    for left in moments(bench.events):
        bench.reset()
        killed = bench.go(left=left, act="SIGKILL")
        assert killed.code == -9, (left, killed.stderr)
        bench.assert_old_or_new()
        finished = bench.finished()
        again = bench.go()
        assert again.code == 0, (left, again.stderr)
        bench.assert_new()
        made = [line.partition(": ")[2] for line in again.stderr.splitlines()]
        assert set(finished).isdisjoint(made), (left, bench.events[left], again.stderr)


def test_sigterm_leaves_the_old_state_or_the_new_one_and_no_litter(bench: Bench) -> None:
    for left in moments(bench.events):
        bench.reset()
        ended = bench.go(left=left, act="SIGTERM")
        assert ended.code == 143, (left, bench.events[left], ended.stderr)
        assert "error: interrupted" in ended.stderr
        assert "Traceback" not in ended.stderr
        bench.assert_old_or_new()
        left_over = sorted(p.name for p in bench.parent.iterdir()) if bench.parent.exists() else []
        assert left_over in ([OURS], []), (left, bench.events[left])


def test_a_worker_that_is_killed_ends_the_run_with_an_error_and_loses_nothing(
    bench: Bench,
) -> None:
    for left in moments(bench.events, lambda event: event.startswith("worker")):
        bench.reset()
        outcome = bench.go(left=left, act="SIGKILL", whom="self")
        assert outcome.code in (5, 6, 7), (left, outcome.stderr)
        assert "most likely for lack of memory" in outcome.stderr
        # What stands is published where that only adds: the state is whole, and has the old one.
        assert bench.old in ("absent", "") or bench.old in bench.state(bench.parent / OURS)
        left_over = sorted(p.name for p in bench.parent.iterdir()) if bench.parent.exists() else []
        assert left_over in ([OURS], [])


def test_what_a_killed_run_left_of_another_source_is_not_taken_over(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """The next run may be of a newer revision; its files must not be mixed with the older's."""
    model, parent = tmp_path / OURS, tmp_path / "out"
    shutil.copytree(tiny_bert, model)
    words = ("export", "--model_id", model, "--output_parent_dir", parent, "--skip_validation")
    events = runner.run(parent, *words).events
    shutil.rmtree(parent)
    swap = next(
        i for i, event in enumerate(events) if event.endswith(f" {OURS}") and "rename" in event
    )
    assert runner.run(parent, *words, left=swap).code == -9
    config = json.loads((model / "config.json").read_text()) | {"comment": "a newer revision"}
    (model / "config.json").write_text(json.dumps(config))
    assert runner.run(parent, *words).code == 0
    assert (parent / OURS / "config.json").read_text() == json.dumps(config)


def test_what_was_made_of_a_lost_file_is_taken_over_when_that_is_made_again(
    runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "out"
    words = ("all", "--model_id", tiny_bert, "--output_parent_dir", parent, "--quantize", "QInt8",
             "--skip_validation")  # fmt: skip
    events = runner.run(parent, *words).events
    shutil.rmtree(parent)
    swap = next(
        i
        for i, event in enumerate(events)
        if event.endswith(f" {tiny_bert.name}") and "rename" in event
    )
    assert runner.run(parent, *words, left=swap).code == -9
    (staged,) = (path for path in parent.glob(".*") if path.is_dir())
    (staged / "onnx/model_opt1.onnx").write_bytes(b"")
    again = runner.run(parent, *words)
    assert again.code == 0, again.stderr
    assert "onnx/model_opt1_QInt8.onnx is up to date" in again.stderr
    assert [path.name for path in parent.iterdir()] == [tiny_bert.name]
