"""Reuses valid files of earlier runs: published ones, and finished ones of killed runs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert.console import Console
from embconvert.folder.opensearch import ARCHIVE, REGISTRATION
from embconvert.folder.staging import Staging
from embconvert.manifest import ArtifactRecord, Manifest, PromptShare
from embconvert.manifest.building import LoadedSource
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout
from embconvert.pipeline.prepare import Prepared
from embconvert.plan.reuse import reusable
from embconvert.plan.steps import Stage, Step
from embconvert.regular_files import IrregularFile

# Changed by layouts: another layout must start from the source's.
_LAYOUT_FILE = "config.json"


def why_graphs_go(old: Manifest, layout: Layout) -> str | None:
    """Returns why a run removes published graphs that it does not make; None if it keeps them."""
    if old.layout != layout:
        return f"the folder had the layout {old.layout}; to keep both, use another folder"
    if LAYOUTS[layout].serves_one:
        return f"the layout {layout} has one graph only"
    return None


class Reuse:
    """Stages files of earlier runs.

    Attributes:
        old: Manifest of the published folder.
        loaded: Properties of the loaded source, as recorded with the reused export.
        shares: How many of the texts that an earlier run compared have each prompt.
        takes_over: Whether a published graph is reused that this run's steps do not make.
    """

    def __init__(self, prepared: Prepared, staging: Staging, console: Console) -> None:
        self._same_source = prepared.same_source
        self._staging = staging
        self._console = console
        old = self.old = prepared.old
        found = [*staging.journals(), *([] if old is None else [(old, staging.target)])]
        # Of another state of the source, even an equal export was measured, and graphs made from it
        # calibrated, with the prompts and the tokens of that state.
        digest = prepared.resolved.digest
        self._manifests = [(m, folder) for m, folder in found if m.source.digest == digest]
        self._refused: list[ArtifactRecord] = []
        self.loaded = LoadedSource.of(old) if old else None
        self.shares: tuple[PromptShare, ...] = ()
        if self._manifests:  # those of killed runs, which are newer, are first
            self.shares = self._manifests[0][0].verification.prompts
        self.takes_over = False

    def take(
        self, steps: Sequence[Step], digests: Mapping[str | None, str]
    ) -> dict[str, ArtifactRecord]:
        """Stages the files that steps need not make again; returns their records by file.

        A file that was changed since it was made is not reused; a warning is printed.

        Args:
            digests: See reusable().
        """
        while True:
            earlier = [r for _, _, r in self._records() if r not in self._refused]
            found = reusable(steps, earlier, digests)
            refused = [
                (step, found[step.file])
                for step in steps
                if step.file in found and not self._stage(step, found[step.file])
            ]
            if not refused:
                return {file: replace(record, path=file) for file, record in found.items()}
            self._refused += [record for _, record in refused]

    def _records(self) -> Iterator[tuple[Manifest, Path, ArtifactRecord]]:
        for manifest, folder in self._manifests:
            for record in manifest.artifacts:
                yield manifest, folder, record

    def _stage(self, step: Step, record: ArtifactRecord) -> bool:
        for manifest, folder, other in self._records():
            if other is not record:
                continue
            if not self._staging.adopt(record, folder, step.file):
                self._console.warn(f"{step.file} was changed since it was made; it is made again")
                continue
            if step.stage is Stage.EXPORT:
                problem = self.add_files(manifest, folder)
                if problem is not None:
                    self._console.warn(f"{problem}; {step.file} is made again")
                    continue
                self.loaded = LoadedSource.of(manifest)
            return True
        return False

    def add_files(self, manifest: Manifest, folder: Path) -> str | None:
        """Stages the other files of a folder; returns in words what is wrong with one of them."""
        for file in manifest.files:
            if file.path == _LAYOUT_FILE and (self._staging.folder / file.path).exists():
                continue
            if file.path in (ARCHIVE, REGISTRATION):
                continue
            try:
                if not self._staging.add_listed(folder, file):
                    return f"{folder / file.path} is not the file that the manifest lists"
            except IrregularFile as error:
                return error.message
        return None

    def published(self, file: str) -> ArtifactRecord | None:
        """Stages a published graph; returns None if it is missing or differs from its manifest."""
        for record in self._same_source.artifacts if self._same_source else ():
            if record.path == file and self._staging.adopt(record, self._staging.target, file):
                self.takes_over = True
                return record
        return None

    def keep_published(self, records: dict[str, ArtifactRecord], layout: Layout) -> None:
        """Adds published graphs that this run did not make, but that belong to its records.

        A graph belongs if its source is the same, and the graph that it was made from is among the
        records, or never was (`--model_path`).
        """
        if self.old is None:
            return
        reason = why_graphs_go(self.old, layout)
        if reason is not None:
            self._tell_of_removed(records.values(), reason)
            return
        before = {a.sha256 for a in self.old.artifacts}
        # An export comes before graphs made from it, and these before files derived from them.
        for record in sorted(
            self.old.artifacts, key=lambda a: (a.made_from is not None, len(a.forms))
        ):
            now = {r.sha256 for r in records.values()}
            if record.path in records or record.sha256 in now:
                continue
            belongs = record.made_from is None or record.made_from in now
            kept = None
            if belongs or record.made_from not in before:
                kept = self.published(record.path)
            if kept is None:
                self._console.warn(f"{record.path} is removed: it was made from another export")
            else:
                records[record.path] = kept

    def _tell_of_removed(self, records: Collection[ArtifactRecord], reason: str) -> None:
        """Reports published graphs that this run removes or renames."""
        assert self.old is not None
        now = {record.sha256: record.path for record in records}
        for record in self.old.artifacts:
            path = now.get(record.sha256)
            if path is None:
                self._console.warn(f"{record.path} is removed: {reason}")
            elif path != record.path:
                self._console.say(
                    f"{record.path} is now {path}: {reason}; copy code that loads it again from "
                    "README.md"
                )

    def would_lose(self, published: Collection[ArtifactRecord]) -> bool:
        """Whether publishing these graphs would remove or replace one, or would add none."""
        now = {(r.path, r.sha256) for r in published}
        before = {(a.path, a.sha256) for a in self.old.artifacts} if self.old else set()
        return not before < now
