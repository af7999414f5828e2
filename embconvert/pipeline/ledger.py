"""What is finished: by this run, by one that was killed, or published before."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert import __version__
from embconvert.console import Console
from embconvert.errors import SourceError
from embconvert.folder.staging import Staging
from embconvert.manifest import (
    ArtifactRecord,
    LateInteractionRecord,
    MachineRecord,
    Manifest,
    OverridesRecord,
    SearchRecord,
    SourceRecord,
    ToolRecord,
    VerificationRecord,
)
from embconvert.manifest.kinds import NOT_LOADED
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.values import OnnxArtifact, ResolvedModel
from embconvert.pipeline.tasks import SourceFacts
from embconvert.plan.keys import STACK, intermediate_keys, unmade, versions
from embconvert.plan.steps import WORK_FOLDER, Stage, Step
from embconvert.processes.resources import cpus
from embconvert.regular_files import IrregularFile
from embconvert.request.parsing import command_line
from embconvert.request.records import Request


class Ledger:
    """The records of an output folder's graphs.

    Attributes:
        records: Of the graphs that stand, by path.
        source_facts: What only the loaded source model tells; None while nobody loaded it.
        given: The graph of `--model_path`.
    """

    def __init__(
        self,
        request: Request,
        resolved: ResolvedModel,
        staging: Staging,
        old: Manifest | None,
        console: Console,
    ) -> None:
        self._request = request
        self._resolved = resolved
        self._staging = staging
        self._old = old
        self._journals = staging.journals()
        self._console = console
        self._takes_over = False
        self.given: OnnxArtifact | None = None
        #: What --quantize auto tried: now, or earlier for a graph of the same source.
        self.search: SearchRecord | None = old.search if old and self._same_source() else None
        self._intermediate_keys: dict[str, str] = {}
        self.records: dict[str, ArtifactRecord] = {}
        self.source_facts: SourceFacts | None = _facts(old) if old else None

    def key(self, step: Step) -> str:
        """Returns what identifies a step's outcome."""
        if step.source is None:
            digest = self._resolved.digest
        elif step.source in self._intermediate_keys:
            digest = self._intermediate_keys[step.source]
        else:
            digest = self.source_of(step).digest
        return step.key(digest, versions())

    def find(self, step: Step) -> ArtifactRecord | None:
        """Returns a step's outcome from an earlier run, its files staged, or None."""
        for manifest, folder in self._earlier():
            key = self.key(step)
            for record in manifest.artifacts:
                if record.key != key:
                    continue
                moved = record.path != step.file
                if moved and record.external_data is not None:
                    continue  # the graph has its name inside
                if not self._staging.adopt(record, folder, step.file):
                    self._console.warn(f"{step.file} was changed since it was made; made anew")
                    continue
                if step.stage is Stage.EXPORT:
                    problem = self.add_files(manifest, folder)
                    if problem is not None:
                        self._console.warn(f"{problem}; {step.file} is made anew")
                        continue
                    self.source_facts = _facts(manifest)
                return replace(record, path=step.file)
        return None

    def _earlier(self) -> Iterator[tuple[Manifest, Path]]:
        yield from self._journals
        if self._old is not None:
            yield self._old, self._staging.target

    def unmade(self, steps: Sequence[Step]) -> set[str]:
        """Returns the files of steps whose outcome is needed and that no earlier run has left.

        find() decides.
        """
        self._intermediate_keys = intermediate_keys(steps, self._resolved.digest)
        noted = [record for manifest, _ in self._earlier() for record in manifest.artifacts]
        return unmade(steps, noted, self._resolved.digest)

    def add_files(self, manifest: Manifest, folder: Path) -> str | None:
        """Stages the other files of a folder: export made some that the source lacked.

        Returns:
            In words, what is wrong with one of them; None when all are what the manifest lists.
        """
        for file in manifest.files:
            try:
                if not self._staging.add_listed(folder, file):
                    return f"{folder / file.path} is not the file that the manifest lists"
            except IrregularFile as error:
                return error.message
        return None

    def source_of(self, step: Step) -> OnnxArtifact:
        """Returns the graph that a step works on.

        Raises:
            SourceError: It is not what the manifest says.
        """
        assert step.source is not None
        if self.given is not None:
            return self.given
        record = self.published(step.source)
        if record is None:
            raise SourceError(
                f"{step.source} is not the file that the manifest lists, or the source model has "
                "changed since",
                f"run again: embconvert export --model_id {self._request.model_id}",
            )
        return self.artifact(record)

    def published(self, file: str) -> ArtifactRecord | None:
        """Returns the record of a graph that stands, its files staged, or None.

        A graph of an earlier run stands when it is what its manifest says, and was made of this
        source.
        """
        if file not in self.records and self._same_source():
            assert self._old is not None
            for record in self._old.artifacts:
                if record.path == file and self._staging.adopt(record, self._staging.target, file):
                    self.records[file] = record
                    self._takes_over = True
        return self.records.get(file)

    def _same_source(self) -> bool:
        return self._old is not None and self._old.source.digest == self._resolved.digest

    def artifact(self, record: ArtifactRecord) -> OnnxArtifact:
        """Returns the staged graph of a record."""
        return record.artifact(self._staging.folder)

    def keep_published(self) -> None:
        """Takes over published graphs that this run did not make and that still belong.

        A graph belongs when its source is the same and the graph that it was made of is still
        there, or never was there (`--model_path`).
        """
        if self._old is None:
            return
        before = {a.sha256 for a in self._old.artifacts}
        if self._old.layout != self._request.layout:
            self._tell_of_removed(f"the folder had the layout {self._old.layout}")
            return
        # An export comes before what is made of it.
        for record in sorted(self._old.artifacts, key=lambda a: a.made_from is not None):
            if record.path in self.records:
                continue
            now = {r.sha256 for r in self.records.values()}
            belongs = record.made_from is None or record.made_from in now
            belongs = belongs or record.made_from not in before
            if record.sha256 in now or LAYOUTS[self._request.layout].serves_one:
                continue
            if not belongs or self.published(record.path) is None:
                self._console.warn(f"{record.path} is removed: it was made of another export")
        if LAYOUTS[self._request.layout].serves_one:
            self._tell_of_removed(f"the layout {self._request.layout} holds one graph to serve")

    def _tell_of_removed(self, reason: str) -> None:
        """Says which published graphs this run doesn't take over, and which have a new name."""
        assert self._old is not None
        now = {record.sha256: record.path for record in self.records.values()}
        for record in self._old.artifacts:
            path = now.get(record.sha256)
            if path is None:
                self._console.warn(f"{record.path} is removed: {reason}")
            elif path != record.path:
                self._console.say(f"{record.path} is now {path}: {reason}")

    def adds_to_published(self) -> bool:
        """Whether publishing adds a graph, and neither removes nor replaces one that is there."""
        records = (r for r in self.records.values() if not r.path.startswith(WORK_FOLDER))
        now = {(r.path, r.sha256) for r in records}
        before = {(a.path, a.sha256) for a in self._old.artifacts} if self._old else set()
        return before < now

    def manifest(self, verification: VerificationRecord) -> Manifest:
        """Returns the manifest of what stands.

        Args:
            verification: What the graphs were compared on.
        """
        published = [r for r in self.records.values() if not r.path.startswith(WORK_FOLDER)]
        return Manifest(
            tool=ToolRecord(version=__version__, commands=self._commands()),
            layout=self._request.layout,
            source=self._source(),
            stack={**{n: versions()[n] for n in STACK}, "python": platform.python_version()},
            machine=MachineRecord(
                platform=platform.platform(), processor=_processor(), cpus=cpus()
            ),
            verification=verification,
            artifacts=tuple(sorted(published, key=lambda r: (len(r.path), r.path))),
            files=self._staging.other_files(),
            search=self.search,
        )

    def _source(self) -> SourceRecord:
        resolved, request = self._resolved, self._request
        facts = self.source_facts
        if facts is not None and facts.model.kind is not resolved.kind:
            facts = None  # of an earlier run with another --task
        return SourceRecord(
            model_id=_sayable(resolved.model_id),
            revision=resolved.revision,
            digest=resolved.digest,
            model_type=resolved.architecture.model_type,
            hidden_size=resolved.architecture.hidden_size,
            num_heads=resolved.architecture.num_heads,
            max_seq_length=resolved.max_seq_length,
            modules=facts.modules if facts else (),
            model=facts.model if facts else NOT_LOADED[resolved.kind],
            overrides=OverridesRecord(
                pooling=request.pooling,
                normalize=request.normalize,
                dimensions=request.dimensions,
            ),
            output=request.output,
            trust_remote_code=request.trust_remote_code,
            card=resolved.card,
            files=resolved.files,
        )

    @property
    def late_interaction(self) -> LateInteraction | None:
        """How queries and documents are read: as loaded now, or noted by an earlier run."""
        model = self.source_facts.model if self.source_facts else None
        return model.late_interaction if isinstance(model, LateInteractionRecord) else None

    def _commands(self) -> tuple[str, ...]:
        """Returns this command line, after those of earlier runs that left graphs which stand."""
        this = _sayable(command_line(self._request, revision=self._resolved.revision))
        earlier = self._old.tool.commands if self._old is not None and self._takes_over else ()
        return (*(line for line in earlier if line != this), this)


def _facts(manifest: Manifest) -> SourceFacts:
    """Returns what an earlier run noted of the loaded source."""
    source = manifest.source
    return SourceFacts(
        model=source.model,
        modules=source.modules,
        max_seq_length=source.max_seq_length,
        rows=None,
    )


def _sayable(text: str) -> str:
    """Returns text without what no file in UTF-8 can hold: bytes of a path that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _processor() -> str:
    """Returns the CPU's name; platform.processor() is empty on most Linux systems."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
