"""The steps of a plan and their cache keys; data only."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from embconvert.fidelity.floors import Floor
from embconvert.manifest.artifacts import SettingValue
from embconvert.manifest.layouts import LayoutRules
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.forms import FileForm
from embconvert.models.recipes import QuantizeOptions

EXPORTED_FILE = "onnx/model.onnx"
#: In the staging folder; its files are never published.
WORK_FOLDER = ".work/"

#: Approximate bytes per parameter in a file.
_BYTES_PER_PARAMETER: Mapping[Precision, float] = {
    Precision.FLOAT32: 4.0,
    Precision.FLOAT16: 2.0,
    Precision.Q8: 1.125,
    Precision.Q4: 0.75,
    Precision.Q4F16: 0.7,
    Precision.QINT8: 1.0,
    Precision.QUINT8: 1.0,
    Precision.QINT8_STATIC: 1.0,
    Precision.QFLOAT8: 1.0,
}


class Stage(StrEnum):
    EXPORT = "export"
    OPTIMIZE = "optimize"
    QUANTIZE = "quantize"
    #: A file of another form, from a published graph.
    DERIVE = "derive"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One file to make.

    Attributes:
        file: Path in the output folder.
        source: The input file, in the output folder or (`--model_path`) elsewhere; None for an
            export.
        level: The optimization level of the graph.
        precision: Of the weights.
        floor: None if validation is skipped.
        settings: Everything, apart from the input, that determines the file's bytes.
        replaced: Operators to write in standard ones, by the names of OnnxArtifact.operators.
        options: Of a quantization; `settings` has those that matter.
        forms: Those of the file, one after the other; the step derives the last one.
    """

    stage: Stage
    file: str
    source: str | None
    level: OptimizationLevel
    precision: Precision
    floor: Floor | None
    settings: Mapping[str, SettingValue]
    replaced: tuple[str, ...] = ()
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    forms: tuple[FileForm, ...] = ()

    @property
    def is_published(self) -> bool:
        """Whether the file goes to the output folder; otherwise it is only an intermediate one.

        The weights of an intermediate graph stay in the source's files: see source_tensors.
        """
        return not self.file.startswith(WORK_FOLDER)

    def file_bytes(self, parameters: int) -> int:
        """Approximate size of the file."""
        if not self.is_published:
            return 0
        return int(parameters * _BYTES_PER_PARAMETER[self.precision])

    def work_bytes(self, parameters: int) -> int:
        """Approximate size of temporary files while it is made.

        For level 99, ONNX Runtime maps the weights from a temporary file.
        """
        passed = self.stage is Stage.OPTIMIZE and self.level is OptimizationLevel.ALL
        return parameters * 4 if passed else 0

    def key(self, source_digest: str, stack: Mapping[str, str]) -> str:
        """Returns the cache key of this input and these libraries: equal keys mean equal bytes."""
        identity = [self.stage, dict(self.settings), source_digest, dict(stack)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def optimized_file(level: OptimizationLevel) -> str:
    return f"onnx/model_opt{int(level)}.onnx"


def quantized_file(level: OptimizationLevel, precision: Precision) -> str:
    return f"onnx/model_opt{int(level)}_{precision}.onnx"


def level_of(file: str) -> OptimizationLevel:
    """Returns the optimization level in a graph's file name; NONE if there is none."""
    for level in OptimizationLevel:
        if file.rpartition("/")[2] == optimized_file(level).rpartition("/")[2]:
            return level
    return OptimizationLevel.NONE


def placed(steps: Collection[Step], rules: LayoutRules, served: Step | None) -> tuple[Step, ...]:
    """Returns the steps with the file names of a layout.

    Names must be final before anything is written, because a graph contains the name of its
    external data.

    Args:
        steps: With the file names of `hub`.
        served: The step that makes SERVED_FILE in layouts with one.
    """
    names = {
        step.file: rules.place(step.file, step.precision, last=step is served) for step in steps
    }
    return tuple(
        replace(
            step,
            file=names[step.file],
            source=None if step.source is None else names.get(step.source, step.source),
        )
        for step in steps
    )
