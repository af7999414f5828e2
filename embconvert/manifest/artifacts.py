"""The record of one graph in the manifest; see `records`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen, MinLen

from embconvert.fidelity.figures import Fidelity
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.compat import Version, version_of
from embconvert.models.constraints import (
    Count,
    GraphSize,
    Identifier,
    MayDiffer,
    Name,
    Positive,
    Record,
    RelativePath,
    Release,
    Seconds,
    Sha256,
    Text,
)
from embconvert.models.forms import FileForm, PaddingRecord
from embconvert.models.source_records import FileRecord
from embconvert.models.values import Fusion, KeptNode, OnnxArtifact, TensorInfo

#: An option's value; several are a tuple.
SettingValue = Text | bool | int | float | tuple[Text, ...] | None
Tensors = Annotated[tuple[TensorInfo, ...], MinLen(1), MaxLen(1000)]


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord(Record):
    """One published graph.

    Attributes:
        path: Relative to the folder.
        sha256: Of the graph file.
        size_bytes: Of the graph file.
        external_data: The file with its weights; None if they are in the graph file.
        precision: Of the weights.
        optimization_level: Of the graph.
        opset: Of ONNX's own domain.
        inputs: In order.
        outputs: In order.
        operators: Counts by operator, as `Domain.Name` outside ONNX's own domain.
        fusions: The fusions of attention, norms and so on; only for optimized graphs.
        kept: The nodes that a quantization left in float32, and why.
        method: The method that succeeded, such as "trace".
        settings: Options and recipes that determine its bytes.
        key: Digest of all that determines its bytes; a file with the same key is reused.
        made_from: sha256 of the graph that it was made from; None for an export.
        fidelity: None if validation was skipped.
        duration_s: Without verification.
        peak_memory_bytes: Of the process that made it.
        min_onnxruntime: Oldest release that runs it.
        forms: What it was derived to, one after the other; empty for a graph of another stage.
        beside: Further files that belong to it.
        padding: How texts are padded to its shape; None if the shape is not fixed.
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
    settings: Annotated[Mapping[Identifier, SettingValue], MaxLen(100)]
    key: Sha256
    made_from: Sha256 | None
    fidelity: Fidelity | None
    duration_s: Annotated[Seconds, MayDiffer()]
    peak_memory_bytes: Annotated[Count, MayDiffer()]
    min_onnxruntime: Release
    forms: Annotated[tuple[FileForm, ...], MaxLen(10)] = ()
    beside: Annotated[tuple[FileRecord, ...], MaxLen(10)] = ()
    padding: PaddingRecord | None = None

    def runs_on(self, onnxruntime: Version | None) -> bool:
        """Whether this release of ONNX Runtime runs it; None stands for the newest."""
        return onnxruntime is None or version_of(self.min_onnxruntime) <= onnxruntime

    @property
    def digest(self) -> str:
        """The same as OnnxArtifact.digest."""
        return self.sha256 + (self.external_data.sha256 if self.external_data else "")

    @property
    def total_size_bytes(self) -> int:
        """Of the graph and its external data."""
        return self.size_bytes + (self.external_data.size_bytes if self.external_data else 0)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """Its own file, then external data and further files."""
        own = FileRecord(path=self.path, sha256=self.sha256, size_bytes=self.size_bytes)
        external = () if self.external_data is None else (self.external_data,)
        return (own, *external, *self.beside)

    def artifact(self, folder: Path) -> OnnxArtifact:
        """Returns the graph in a folder; the inverse of record.make_record."""
        external = self.external_data
        if external is not None:  # the path is relative to the graph
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
            forms=self.forms,
        )
