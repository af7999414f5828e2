"""Creates the manifest's record of a graph."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord
from embconvert.models.source_records import FileRecord
from embconvert.models.values import (
    DerivedModel,
    OnnxArtifact,
    OptimizedModel,
    QuantizedModel,
    StageResult,
)
from embconvert.plan.steps import Step
from embconvert.processes.metering import Meter


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that is not verified yet.

    Attributes:
        model: What its stage returned.
        meter: Time and memory for making it.
        method: Exporter, optimizer, precision or form.
    """

    model: StageResult
    meter: Meter
    method: str

    @property
    def artifact(self) -> OnnxArtifact:
        return self.model.artifact


def make_record(
    step: Step, made: Made, *, made_from: str | None, key: str, fidelity: Fidelity | None
) -> ArtifactRecord:
    """Returns the manifest's record of a file; ArtifactRecord.artifact is the inverse.

    Args:
        made_from: sha256 of the graph that it was made from; None for an export.
        key: Cache key of the step.
        fidelity: None if it was not compared.
    """
    model, artifact, external = made.model, made.artifact, made.artifact.external_data
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
        fusions=model.fusions if isinstance(model, OptimizedModel) else (),
        kept=model.kept if isinstance(model, QuantizedModel) else (),
        method=made.method,
        settings=step.settings,
        key=key,
        made_from=made_from,
        fidelity=fidelity,
        duration_s=round(made.meter.duration_s, 3),
        peak_memory_bytes=made.meter.peak_memory_bytes,
        min_onnxruntime=artifact.min_onnxruntime,
        forms=step.forms,
        beside=tuple(map(in_folder, model.beside)) if isinstance(model, DerivedModel) else (),
        padding=model.padding if isinstance(model, DerivedModel) else None,
    )
