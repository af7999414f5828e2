"""The records of the manifest.

The types of the fields have constraints; see `embconvert.models.constraints`.
`data/manifest.schema.json` is generated from the types and docstrings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from embconvert.fidelity.figures import Similarity
from embconvert.manifest.artifacts import ArtifactRecord
from embconvert.manifest.sources import Files, SourceRecord
from embconvert.models.choices import Layout
from embconvert.models.constraints import (
    Count,
    GraphSize,
    Identifier,
    MayDiffer,
    Name,
    Points,
    Positive,
    Record,
    RelativePath,
    Sha256,
    Text,
)
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.prompts import MAX_PROMPTS
from embconvert.models.source_records import FileRecord
from embconvert.speed.records import SpeedsRecord, Speedup

#: 3: speeds are measured in turns; 2 had each graph's throughput during its verification. 1 had
#: untyped values of the source, and figures named after their measure.
SCHEMA_VERSION: Literal[3] = 3
MANIFEST_FILE = "embconvert.json"
#: Pages for people.
REPORT_FILE = "report.html"
CARD_FILE = "README.md"
#: Written only if it is asked for.
TRY_FILE = "try.html"
PAGES = (REPORT_FILE, CARD_FILE, TRY_FILE)


@dataclass(frozen=True, kw_only=True)
class ToolRecord(Record):
    """The tool that made a folder.

    Attributes:
        version: Of embconvert.
        commands: The command lines that made the graphs, in order.
    """

    name: Literal["embconvert"] = "embconvert"
    version: Identifier
    commands: Annotated[tuple[Text, ...], MinLen(1), MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class MachineRecord(Record):
    """The machine on which a folder was made."""

    platform: Name
    processor: Name
    cpus: Positive


@dataclass(frozen=True, kw_only=True)
class PromptShare(Record):
    """How many of the compared texts have a prompt; an empty one is none."""

    prompt: Text
    texts: Count


@dataclass(frozen=True, kw_only=True)
class VerificationRecord(Record):
    """How graphs were compared with the source.

    Attributes:
        texts_digest: Of the built-in texts.
        texts: Number of built-in texts; the fidelity of a graph says on how many it was compared.
        skipped: Whether validation was skipped.
        execution: "layer by layer" if memory was short.
        reference: What the graphs were compared with, for people.
        prompts: The prompts that the texts are shared out among; empty if the model has none, or
            nothing was compared. Files that were compared on more texts than others have more.
    """

    texts_digest: Sha256
    texts: Positive
    skipped: bool
    execution: Literal["whole graph", "layer by layer"]
    reference: Name
    prompts: Annotated[tuple[PromptShare, ...], MaxLen(MAX_PROMPTS + 1)] = ()


@dataclass(frozen=True, kw_only=True)
class TriedRecord(Record):
    """A candidate of `--quantize auto`.

    Attributes:
        name: Its precision, with recipes that differ from the default.
        size_bytes: None if it was not made.
        similarity: None if it was not made.
        speedup: Relative to the exported float32 graph; None if not measured.
        outcome: Why it was rejected; None for the published one.
        on_frontier: Whether no other candidate beats it in size, mean similarity and speed.
        loss_points: How many hundredths of the main figure it loses on the user's data; None if it
            was not evaluated.
    """

    name: Name
    size_bytes: GraphSize | None
    similarity: Similarity | None
    speedup: Annotated[Speedup | None, MayDiffer()]
    outcome: Text | None
    on_frontier: bool
    loss_points: Points | None = None


@dataclass(frozen=True, kw_only=True)
class SearchRecord(Record):
    """What `--quantize auto` tried.

    Attributes:
        budget: What the published file had to meet, in words.
        candidates: In ascending order of their estimated sizes.
    """

    budget: Text
    candidates: Annotated[tuple[TriedRecord, ...], MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class RecommendedRecord(Record):
    """The graph to take where nothing else is known.

    Attributes:
        path: Of the graph.
        reason: Why it is the one to take, as "the smallest file that ...".
    """

    path: RelativePath
    reason: Text


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """The content of an output folder, and how it was made.

    Attributes:
        schema_version: Of this format; a folder with an older one is made again.
        tool: The tool that made it.
        layout: Of the folder.
        source: What it was made from.
        stack: Versions of the libraries.
        machine: The machine on which it was made.
        verification: How graphs were compared with the source.
        artifacts: The graphs.
        speeds: Of the graphs; None if they were not measured.
        recommended: The graph to take; None if there is none.
        files: The other files of the folder.
        search: The candidates of `--quantize auto`; None without it.
        pages: The report and the model card, which depend on the rest of the manifest, including
            times and machine.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    tool: ToolRecord
    layout: Layout = Layout.HUB
    source: SourceRecord
    stack: Annotated[Mapping[Identifier, Identifier], MinLen(1), MaxLen(100)]
    machine: Annotated[MachineRecord, MayDiffer()]
    verification: VerificationRecord
    artifacts: Annotated[tuple[ArtifactRecord, ...], MaxLen(1000)]
    speeds: Annotated[SpeedsRecord | None, MayDiffer()] = None
    recommended: Annotated[RecommendedRecord | None, MayDiffer()] = None
    files: Files
    search: SearchRecord | None = None
    pages: Annotated[tuple[FileRecord, ...], MaxLen(3), MayDiffer()] = ()

    @property
    def kind(self) -> Kind:
        return self.source.model.kind

    @property
    def measure(self) -> Measure:
        """The measure of its graphs' similarity to the source."""
        return KINDS[self.kind].measure

    @property
    def exported(self) -> ArtifactRecord | None:
        """The exported graph, with which others are compared; None if it is not published."""
        return next((graph for graph in self.artifacts if graph.made_from is None), None)

    @property
    def compared_texts(self) -> str:
        """How many texts the graphs' figures rest on, such as "300" or "85 of 300"."""
        counts = {graph.fidelity.texts for graph in self.artifacts if graph.fidelity}
        total = self.verification.texts
        fewest, most = min(counts, default=total), max(counts, default=total)
        if fewest == total:
            return str(total)
        return f"{fewest} of {total}" if fewest == most else f"{fewest} to {most} of {total}"

    def describes_the_same(self, other: "Manifest") -> bool:
        """Whether another manifest has the same layout and the same files, and lacks no speeds."""
        return (self.layout, self.artifacts, self.files) == (
            other.layout,
            other.artifacts,
            other.files,
        ) and (self.speeds is None or other.speeds is not None)

    def records(self) -> list[FileRecord]:
        """Returns all files of the manifest."""
        of_graphs = [file for graph in self.artifacts for file in graph.files]
        return [*of_graphs, *self.files, *self.pages]

    def paths(self) -> set[str]:
        return {record.path for record in self.records()}

    def sizes(self) -> dict[str, int]:
        """Returns the size in bytes of all files except the pages."""
        pages = {page.path for page in self.pages}
        return {r.path: r.size_bytes for r in self.records() if r.path not in pages}
