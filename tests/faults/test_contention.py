"""Runs at one output folder, without locks and killed at random, never leave it half-made.

So it is where each machine has locks of its own, on a volume that several share.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from embconvert.errors import OutputError
from embconvert.folder.parent import Parent
from embconvert.folder.published import read_manifest
from embconvert.folder.staging import Staging
from embconvert.graph.streams import hash_file
from support.command_line import files_in
from support.staged import FolderWithoutSwap, manifest, record

SECONDS = 3.0
GRAPHS = ("onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx")


def publish_for_ever(target: Path, swapping: bool) -> None:
    """Publishes other content each time, as one run after another would."""
    import fcntl

    fcntl.flock = lambda *_: None
    open_parent = Parent if swapping else FolderWithoutSwap
    for number in range(10**9):
        # One whose folder another has removed goes on with the next.
        with (
            contextlib.suppress(OSError, OutputError),
            Staging(target, lambda _: None, open_parent) as staging,
        ):
            old = read_manifest(target) if target.exists() else None
            records = {}
            # What it takes of another run's folder is whole, whatever that run does.
            for journal, folder in staging.journals():
                records = {r.path: r for r in journal.artifacts if staging.adopt(r, folder, r.path)}
            for file in (graph for graph in GRAPHS if graph not in records):
                staging.path(file).unlink(missing_ok=True)
                staging.path(file).write_text(f"{os.getpid()} {number} {file}" * 100)
                records[file] = record(staging.path(file), file)
                staging.write_manifest(manifest(staging, *records.values()))
            staging.complete(manifest(staging, *records.values()), old)
            staging.swap()


def problem(target: Path) -> str | None:
    """Returns what is wrong with a folder, None when it is whole.

    The folder is opened once: another may take its place at any moment.
    """
    try:
        folder = os.open(target, os.O_RDONLY)
    except FileNotFoundError:
        return "missing"
    here = Path(f"/proc/self/fd/{folder}")
    try:
        made = read_manifest(here)
        assert made is not None
        assert {a.path for a in made.artifacts} == set(GRAPHS)
        assert all(hash_file(here / a.path) == a.sha256 for a in made.artifacts)
    except (AssertionError, ValueError, FileNotFoundError) as error:
        try:
            replaced = target.stat().st_ino != os.fstat(folder).st_ino
        except FileNotFoundError:
            replaced = True
        return "replaced while it was read" if replaced else repr(error)
    finally:
        os.close(folder)
    return None


@pytest.mark.parametrize("swapping", [True, False])
def test_whoever_looks_sees_a_whole_folder(swapping: bool, tmp_path: Path) -> None:
    target = tmp_path / "model"
    context = multiprocessing.get_context("fork")

    def start() -> "multiprocessing.process.BaseProcess":
        run = context.Process(target=publish_for_ever, args=(target, swapping))
        run.start()
        return run

    chance = random.Random(0)
    runs = [start() for _ in range(3)]
    seen: dict[str | None, int] = {}
    kills = 0
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            found = problem(target)
            seen[found] = seen.get(found, 0) + 1
            victim = chance.randrange(len(runs))
            if chance.random() < 0.1:
                runs[victim].kill()
                runs[victim].join()
                kills += runs[victim].exitcode == -signal.SIGKILL
                runs[victim] = start()
            time.sleep(0.005)
    finally:
        for run in runs:
            run.kill()
            run.join()
    allowed = {None, "replaced while it was read", "missing"}
    assert set(seen) <= allowed, seen
    assert seen.get(None, 0) > 10, seen
    assert kills > 3

    with Staging(target, print) as staging:
        staging.journals()
    assert problem(target) is None
    assert {name.split("/")[0] for name in files_in(tmp_path)} == {"model"}
