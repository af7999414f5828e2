"""From a graph that was made to its record in the manifest."""

from dataclasses import replace
from pathlib import PurePosixPath

from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord
from embconvert.models.values import Fusion, KeptNode, OnnxArtifact
from embconvert.plan.steps import Step
from embconvert.processes.metering import Meter


def make_record(
    step: Step,
    artifact: OnnxArtifact,
    *,
    method: str,
    key: str,
    made_from: str | None,
    fidelity: Fidelity | None,
    meter: Meter,
    fusions: tuple[Fusion, ...] = (),
    kept: tuple[KeptNode, ...] = (),
) -> ArtifactRecord:
    """Returns the manifest's record of a graph; ArtifactRecord.artifact is the way back."""
    external = artifact.external_data
    if external is not None:  # in the manifest, relative to the folder
        parent = PurePosixPath(step.file).parent
        external = replace(external, path=(parent / external.path).as_posix())
    return ArtifactRecord(
        path=step.file,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        external_data=external,
        precision=step.precision,
        optimization_level=step.level,
        opset=artifact.opset,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        operators=artifact.operators,
        fusions=fusions,
        kept=kept,
        method=method,
        settings=step.settings,
        key=key,
        made_from=made_from,
        fidelity=fidelity,
        duration_s=round(meter.duration_s, 3),
        peak_memory_bytes=meter.peak_memory_bytes,
        min_onnxruntime=artifact.min_onnxruntime,
    )
