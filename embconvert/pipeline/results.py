"""The graphs of a run in the staged folder, and their manifest."""

from collections.abc import Iterable
from dataclasses import replace

from embconvert.errors import SourceError
from embconvert.folder.staging import Staging
from embconvert.manifest import (
    ArtifactRecord,
    Manifest,
    PromptShare,
    SearchRecord,
    VerificationRecord,
)
from embconvert.manifest.building import as_utf8, build_manifest
from embconvert.models.choices import Command
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.reuse import Reuse
from embconvert.plan.reuse import STACK, versions
from embconvert.plan.steps import WORK_FOLDER, Step
from embconvert.processes.resources import cpus
from embconvert.request.parsing import command_line, next_command
from embconvert.speed.records import SpeedsRecord


class Results:
    """The graphs of a run.

    Attributes:
        records: Records of the finished graphs, by file.
        given: The graph of `--model_path`.
        search: Results of --quantize auto, from this run or an earlier one with the same source.
        speeds: Of the published graphs, all measured by one run; None if they are not.
        shares: How many of the texts that this run compares have each prompt; None if it compares
            nothing.
    """

    def __init__(
        self, prepared: Prepared, staging: Staging, reuse: Reuse, verification: VerificationRecord
    ) -> None:
        self._request = prepared.request
        self._resolved = prepared.resolved
        self._staging = staging
        self._reuse = reuse
        self._verification = verification
        self.records: dict[str, ArtifactRecord] = {}
        self.given: OnnxArtifact | None = None
        same_source = prepared.same_source
        self.search: SearchRecord | None = same_source.search if same_source else None
        self.speeds: SpeedsRecord | None = None
        self.shares: tuple[PromptShare, ...] | None = None
        #: Digests of the source (under None) and of each graph that existed before this run.
        self.digests: dict[str | None, str] = prepared.digests

    def take_given(self, given: OnnxArtifact) -> None:
        """Makes the steps work on the graph of `--model_path`."""
        self.given = given
        self.digests[str(self._request.model_path)] = given.digest

    def key(self, step: Step) -> str:
        """Returns the cache key of a step, whose source graph must exist."""
        return step.key(self.digest_of(step.source), versions())

    def digest_of(self, file: str | None) -> str:
        """Returns the digest of a graph, or with None of the source."""
        record = self.records.get(file or "")
        if record is None:
            return self.digests[file]
        # An unpublished graph only refers to its weights, so only its key identifies them.
        return record.key if file and file.startswith(WORK_FOLDER) else record.digest

    def check_sources(self, steps: Iterable[Step]) -> None:
        """Checks that the graphs of a finished run were made from each other, with its options.

        Raises:
            RuntimeError: A graph that was reused is of another export; what is published would not
                be what was verified.
        """
        keys: dict[str, set[str]] = {}  # the candidates of a search may have one file
        unmade: dict[str | None, str] = {}
        for step in steps:
            if step.source in unmade:
                source = unmade[step.source]
            elif step.source in self.records or step.source in self.digests:
                source = self.digest_of(step.source)
            else:
                continue  # could not be made
            key = step.key(source, versions())
            keys.setdefault(step.file, set()).add(key)
            if step.file not in self.records and not step.is_published:
                unmade[step.file] = key
        for file, fitting in keys.items():
            if file in self.records and self.records[file].key not in fitting:
                raise RuntimeError(f"{file} was not made from today's export")

    def source_of(self, step: Step) -> OnnxArtifact:
        """Returns the staged graph that a step works on; raises SourceError if it has changed."""
        assert step.source is not None
        if self.given is not None and step.source == str(self._request.model_path):
            return self.given
        record = self.standing(step.source)
        if record is None:
            raise SourceError(
                f"{step.source} is not the file that the manifest lists, or the source model has "
                "changed since",
                f"run again: {next_command(self._request, Command.EXPORT)}",
            )
        return self.artifact(record)

    def standing(self, file: str) -> ArtifactRecord | None:
        """Returns the record of a graph that this run made, or that is published; stages it."""
        if file not in self.records:
            published = self._reuse.published(file)
            if published is not None:
                self.records[file] = published
        return self.records.get(file)

    def artifact(self, record: ArtifactRecord) -> OnnxArtifact:
        """Returns the staged graph of a record."""
        return record.artifact(self._staging.folder)

    @property
    def published(self) -> list[ArtifactRecord]:
        """The records of the graphs for the output folder."""
        return [r for r in self.records.values() if not r.path.startswith(WORK_FOLDER)]

    def manifest(self) -> Manifest:
        """Returns the manifest of the finished graphs."""
        return build_manifest(
            self._request,
            self._resolved,
            artifacts=self.published,
            loaded=self._reuse.loaded,
            verification=replace(
                self._verification,
                prompts=self._reuse.shares if self.shares is None else self.shares,
            ),
            commands=self._commands(),
            versions={name: versions()[name] for name in STACK},
            cpus=cpus(),
            files=self._staging.other_files(),
            search=self.search_on_export,
            speeds=self.speeds,
        )

    @property
    def search_on_export(self) -> SearchRecord | None:
        """The results of the search; None if it is an earlier one, on another export."""
        old = self._reuse.old
        if old is None or self.search is not old.search:
            return self.search
        searched = {record.sha256 for record in old.artifacts if record.made_from is None}
        return self.search if any(r.sha256 in searched for r in self.published) else None

    def _commands(self) -> tuple[str, ...]:
        """Returns this command line, after those of earlier runs whose graphs are kept."""
        source = self._resolved
        line = command_line(
            self._request,
            model_id=source.public_id,
            revision=source.revision,
            adapters=[adapter.record.choice for adapter in source.adapters],
        )
        this = as_utf8(line)
        old = self._reuse.old
        earlier = old.tool.commands if old is not None and self._reuse.takes_over else ()
        return (*(line for line in earlier if line != this), this)

    def note(self) -> None:
        """Writes the manifest, so that a killed run can be continued."""
        self._staging.write_manifest(self.manifest())
