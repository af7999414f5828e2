"""Creates the manifest's record of a graph."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord
from embconvert.models.forms import PaddingRecord
from embconvert.models.source_records import FileRecord
from embconvert.models.values import Fusion, KeptNode, OnnxArtifact
from embconvert.plan.steps import Step
from embconvert.processes.metering import Meter


@dataclass(frozen=True, kw_only=True)
class Made:
    """A graph that is not verified yet.

    Attributes:
        meter: Time and memory for making it.
        method: Exporter, optimizer or precision.
        made_from: sha256 of the graph that it was made from; None for an export.
        beside: Files that belong to it; paths are relative to its folder.
    """

    artifact: OnnxArtifact
    meter: Meter
    method: str
    made_from: str | None = None
    fusions: tuple[Fusion, ...] = ()
    kept: tuple[KeptNode, ...] = ()
    beside: tuple[FileRecord, ...] = ()
    padding: PaddingRecord | None = None


def make_record(step: Step, made: Made, *, key: str, fidelity: Fidelity | None) -> ArtifactRecord:
    """Returns the manifest's record of a graph; ArtifactRecord.artifact is the inverse."""
    artifact, external = made.artifact, made.artifact.external_data
    parent = PurePosixPath(step.file).parent

    def in_folder(file: FileRecord) -> FileRecord:
        return replace(file, path=(parent / file.path).as_posix())

    return ArtifactRecord(
        path=step.file,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        external_data=None if external is None else in_folder(external),
        precision=step.precision,
        optimization_level=step.level,
        opset=artifact.opset,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        operators=artifact.operators,
        fusions=made.fusions,
        kept=made.kept,
        method=made.method,
        settings=step.settings,
        key=key,
        made_from=made.made_from,
        fidelity=fidelity,
        duration_s=round(made.meter.duration_s, 3),
        peak_memory_bytes=made.meter.peak_memory_bytes,
        min_onnxruntime=artifact.min_onnxruntime,
        forms=step.forms,
        beside=tuple(map(in_folder, made.beside)),
        padding=made.padding,
    )
