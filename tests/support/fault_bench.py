"""Scenarios of runs that something happens to, and what must hold afterwards."""

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.folder.published import read_manifest
from embconvert.graph.streams import hash_file
from support.command_line import files_in
from support.faulty_runs import Run, Runner

EVERY = os.environ.get("EMBCONVERT_FAULTS") == "all"
SAMPLE = 6
OURS = "tiny-bert"
STAGING = ".tiny-bert.embconvert-staging-*"
ASIDE = ".tiny-bert.embconvert-old-*"


@dataclass(frozen=True)
class Scenario:
    """What is there before, what runs, and which graphs are there afterwards."""

    before: tuple[str, ...] | None
    words: tuple[str, ...]
    graphs: int
    can_swap: bool = True


SCENARIOS = {
    "new": Scenario(None, ("all", "--quantize", "QInt8"), 3),
    "replacing": Scenario(("export", "--opset", "18"), ("all", "--quantize", "QInt8"), 3),
    "continuing": Scenario(("export",), ("quantize", "--quantize", "QInt8"), 2),
    "without a swap": Scenario(("export", "--opset", "18"), ("export",), 1, can_swap=False),
}


class Bench:
    """A scenario's folders, made anew for every try."""

    def __init__(self, runner: Runner, model: Path, scenario: Scenario, scratch: Path) -> None:
        self._runner = runner
        self._model = model
        self._scenario = scenario
        self._before = scratch / "before"
        self.parent = scratch / "out"
        if scenario.before is None:
            self._before.mkdir()
        else:
            assert self._run(scenario.before, self._before).code == 0
            (self._before / OURS / "notes.txt").write_text("the user's own")
        self.old = self.state(self._before / OURS)
        self.reset()
        self.events = self.go().events

    def _run(self, words: tuple[str, ...], parent: Path, **fault: Any) -> Run:
        command, *options = words
        return self._runner.run(
            parent, command, "--model_id", self._model, "--output_parent_dir", parent,
            "--skip_validation", *options, **fault,
        )  # fmt: skip

    def reset(self) -> None:
        """Makes the folders as they were before."""
        shutil.rmtree(self.parent, ignore_errors=True)
        if self._scenario.before is not None:
            shutil.copytree(self._before, self.parent)

    def go(self, **fault: Any) -> Run:
        """Runs the scenario's command line."""
        return self._run(
            self._scenario.words, self.parent, can_swap=self._scenario.can_swap, **fault
        )

    @staticmethod
    def state(folder: Path) -> str:
        """Returns "absent", or the graphs of a folder whose files are all as its manifest says."""
        if not folder.exists():
            return "absent"
        manifest = read_manifest(folder)
        assert manifest is not None, files_in(folder)
        listed = {r.path: r.sha256 for r in manifest.artifacts}
        listed |= {r.path: r.sha256 for r in manifest.files}
        for file, sha256 in listed.items():
            assert hash_file(folder / file) == sha256, file
        return " ".join(f"{a.path}@{a.opset}" for a in manifest.artifacts)

    def finished(self) -> list[str]:
        """Returns the graphs that a run which was killed had finished."""
        manifests = [read_manifest(folder) for folder in self.parent.glob(STAGING)]
        return [a.path for manifest in manifests if manifest for a in manifest.artifacts]

    def assert_new(self) -> None:
        """The new state is there whole, with the user's file, and nothing else."""
        assert [p.name for p in self.parent.iterdir()] == [OURS]
        manifest = read_manifest(self.parent / OURS)
        assert manifest is not None
        assert len(manifest.artifacts) == self._scenario.graphs
        self.state(self.parent / OURS)
        kept = {"notes.txt"} if self._scenario.before else set()
        assert set(files_in(self.parent / OURS)) == manifest.paths() | {"embconvert.json"} | kept

    def assert_old_or_new(self) -> None:
        """The output folder is the old state or the new one."""
        folder = self.parent / OURS
        if not self._scenario.can_swap and not folder.exists():
            # Between two renames; the next run puts it back.
            (folder,) = self.parent.glob(ASIDE)
        state = self.state(folder)
        assert state == self.old or state.count("@") == self._scenario.graphs, state
        assert self._scenario.before is None or (folder / "notes.txt").exists()


def moments(events: list[str], wanted: Callable[[str], bool] = lambda _: True) -> list[int]:
    """Chooses events: all, or some of each kind in turn, the rare kinds first."""
    kinds: dict[str, list[int]] = {}
    for index, event in enumerate(event for event in events if wanted(event)):
        where, what, *_ = event.split()
        kinds.setdefault(f"{where} {what}", []).append(index)
    if EVERY:
        return sorted(itertools.chain(*kinds.values()))
    turns = itertools.zip_longest(*sorted(kinds.values(), key=len))
    return sorted([i for turn in turns for i in turn if i is not None][:SAMPLE])
