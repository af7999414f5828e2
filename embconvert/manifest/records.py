"""The records of the manifest; numbers and words only, no files.

What a field may be is said in its type; see `embconvert.models.constraints`.
`data/manifest.schema.json` is the JSON Schema that follows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from embconvert.fidelity.figures import Fidelity, Similarity
from embconvert.manifest.sources import Files, SourceRecord
from embconvert.models.architectures import FUSED_ATTENTION
from embconvert.models.choices import Layout, OptimizationLevel, Precision
from embconvert.models.constraints import (
    Count,
    GraphSize,
    Identifier,
    MayDiffer,
    Name,
    Positive,
    Rate,
    Record,
    RelativePath,
    Release,
    Seconds,
    Sha256,
    Text,
)
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.values import (
    FileRecord,
    Fusion,
    KeptNode,
    OnnxArtifact,
    TensorInfo,
)

#: 2: typed records; 1 had a bag of facts for the source, and figures called after their measure.
SCHEMA_VERSION: Literal[2] = 2
MANIFEST_FILE = "embconvert.json"
#: What people look at.
REPORT_FILE = "report.html"
CARD_FILE = "README.md"
PAGES = (REPORT_FILE, CARD_FILE)

#: An option's value; several are a tuple.
Setting = Text | bool | int | float | tuple[Text, ...] | None
Tensors = Annotated[tuple[TensorInfo, ...], MinLen(1), MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord(Record):
    """What is known of one published graph.

    Attributes:
        path: Relative to the folder.
        sha256: Of the graph file.
        size_bytes: Of the graph file.
        external_data: The file that holds its weights, its path relative to the folder; None
            when they are in the graph.
        precision: Of the weights.
        optimization_level: Of the graph.
        opset: Of ONNX's own domain.
        inputs: In order.
        outputs: In order.
        operators: Counts; operators outside ONNX's own domain carry their domain's name.
        fusions: What became of attention, norms and the like; none but of an optimized graph.
        kept: The nodes that a quantization left in float32, and why.
        method: Which of the ways to make it worked, as "trace".
        settings: The options, recipes among them, that decide its bytes; see plan.Step.settings.
        key: What it was made of, and how; see plan.Step.key.
        made_from: sha256 of the graph that it was made of; None for an export.
        fidelity: None when validation was skipped.
        duration_s: To make it, without its verification.
        peak_memory_bytes: Of the process while making it.
        min_onnxruntime: The oldest release that runs it.
    """

    path: RelativePath
    sha256: Sha256
    size_bytes: GraphSize
    external_data: FileRecord | None
    precision: Precision
    optimization_level: OptimizationLevel
    opset: Positive
    inputs: Tensors
    outputs: Tensors
    operators: Annotated[Mapping[Name, Positive], MaxLen(10_000)]
    fusions: Annotated[tuple[Fusion, ...], MaxLen(1000)] = ()
    kept: Annotated[tuple[KeptNode, ...], MaxLen(100_000)] = ()
    method: Name
    settings: Annotated[Mapping[Identifier, Setting], MaxLen(100)]
    key: Sha256
    made_from: Sha256 | None
    fidelity: Fidelity | None
    duration_s: Annotated[Seconds, MayDiffer()]
    peak_memory_bytes: Annotated[Count, MayDiffer()]
    min_onnxruntime: Release

    def runs_on(self, onnxruntime: tuple[int, int] | None) -> bool:
        """Whether a release of ONNX Runtime runs it; None stands for the newest."""
        major, minor = map(int, self.min_onnxruntime.split("."))
        return onnxruntime is None or (major, minor) <= onnxruntime

    @property
    def digest(self) -> str:
        """As OnnxArtifact.digest."""
        return self.sha256 + (self.external_data.sha256 if self.external_data else "")

    @property
    def total_size_bytes(self) -> int:
        """Graph and external data together."""
        return self.size_bytes + (self.external_data.size_bytes if self.external_data else 0)

    def artifact(self, folder: Path) -> OnnxArtifact:
        """Returns the graph in a folder; record.make_record is the way back."""
        external = self.external_data
        if external is not None:  # the graph names it relative to itself
            external = replace(external, path=external.path.rpartition("/")[2])
        return OnnxArtifact(
            path=folder / self.path,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            external_data=external,
            opset=self.opset,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
            min_onnxruntime=self.min_onnxruntime,
        )

    @property
    def fused_operators(self) -> dict[str, int]:
        """The operators that are not ONNX's own, and ONNX's attention."""
        return {n: c for n, c in self.operators.items() if "." in n or n in FUSED_ATTENTION}


@dataclass(frozen=True, kw_only=True)
class ToolRecord(Record):
    """What made a folder.

    Attributes:
        version: embconvert's.
        commands: The command lines that made the graphs, the first first.
    """

    name: Literal["embconvert"] = "embconvert"
    version: Identifier
    commands: Annotated[tuple[Text, ...], MinLen(1), MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class MachineRecord(Record):
    """Where a folder was made."""

    platform: Name
    processor: Name
    cpus: Positive


@dataclass(frozen=True, kw_only=True)
class VerificationRecord(Record):
    """What graphs were compared on.

    Attributes:
        texts_digest: Of the built-in texts.
        texts: How many there are.
        skipped: Whether the run was told to skip validation.
        execution: How the source and the graphs ran: layer by layer when memory was short.
        reference: What they were compared with, for people.
    """

    texts_digest: Sha256
    texts: Positive
    skipped: bool
    execution: Literal["whole graph", "layer by layer"]
    reference: Name


@dataclass(frozen=True, kw_only=True)
class TriedRecord(Record):
    """A candidate of `--quantize auto`.

    Attributes:
        name: Its precision, with its recipes where they are not as usual.
        size_bytes: None when it was not made.
        similarity: Likewise.
        speedup: Over the exported float32 graph; None when there is none.
        outcome: What spoke against it; None for the one that is published.
        on_frontier: Whether no other beats it in size, mean similarity and speed.
    """

    name: Name
    size_bytes: GraphSize | None
    similarity: Similarity | None
    speedup: Annotated[Rate | None, MayDiffer()]
    outcome: Text | None
    on_frontier: bool


@dataclass(frozen=True, kw_only=True)
class SearchRecord(Record):
    """What `--quantize auto` tried, the smallest first, and for what."""

    budget: Text
    candidates: Annotated[tuple[TriedRecord, ...], MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """What an output folder of embconvert holds and how it came to be.

    Attributes:
        tool: What made it.
        layout: How the folder looks.
        source: What it was made of.
        stack: Versions of the libraries.
        machine: Where it was made.
        verification: What graphs were compared on.
        artifacts: The graphs.
        files: The other files of the folder.
        search: What `--quantize auto` tried, and for what; None where it was not asked for.
        pages: What people look at, the report and the model card: made of the rest of the
            manifest, times and machine included.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    tool: ToolRecord
    layout: Layout = Layout.HUB
    source: SourceRecord
    stack: Annotated[Mapping[Identifier, Identifier], MinLen(1), MaxLen(100)]
    machine: Annotated[MachineRecord, MayDiffer()]
    verification: VerificationRecord
    artifacts: Annotated[tuple[ArtifactRecord, ...], MaxLen(1000)]
    files: Files
    search: SearchRecord | None = None
    pages: Annotated[tuple[FileRecord, ...], MaxLen(2), MayDiffer()] = ()

    @property
    def kind(self) -> Kind:
        """What kind of model it is of."""
        return self.source.model.kind

    @property
    def measure(self) -> Measure:
        """How near its graphs are to the source is told by this."""
        return KINDS[self.kind].measure

    def describes_the_same(self, other: "Manifest") -> bool:
        """Whether another manifest is of a folder with the same files, laid out the same way."""
        return (self.layout, self.artifacts, self.files) == (
            other.layout,
            other.artifacts,
            other.files,
        )

    def records(self) -> list[FileRecord]:
        """Returns every file that the manifest lists."""
        graphs = [
            FileRecord(path=graph.path, sha256=graph.sha256, size_bytes=graph.size_bytes)
            for graph in self.artifacts
        ]
        external = [graph.external_data for graph in self.artifacts if graph.external_data]
        return [*graphs, *external, *self.files, *self.pages]

    def paths(self) -> set[str]:
        """Returns the paths of every file that the manifest lists."""
        return {record.path for record in self.records()}

    def sizes(self) -> dict[str, int]:
        """Returns the size in bytes of every file that the manifest lists, but for the pages."""
        pages = {page.path for page in self.pages}
        return {r.path: r.size_bytes for r in self.records() if r.path not in pages}
