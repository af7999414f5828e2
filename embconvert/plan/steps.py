"""The steps of a plan: what each makes, of what, and what identifies its outcome; data only."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from embconvert.errors import UsageError
from embconvert.fidelity.floors import Floor, floor_for
from embconvert.manifest.layouts import LayoutRules
from embconvert.models.choices import (
    DEFAULT_RECIPES,
    QUANTIZED_PRECISIONS,
    RECIPES,
    OptimizationLevel,
    Precision,
    QuantizeOptions,
)
from embconvert.models.compat import oldest_for_precision
from embconvert.models.kinds import KINDS, Kind
from embconvert.request.records import Request

#: An option's value; several are a tuple.
Setting = str | bool | int | float | tuple[str, ...] | None

EXPORTED_FILE = "onnx/model.onnx"
#: In the staged folder; what lies there is never published.
WORK_FOLDER = ".work/"

#: About how many bytes a parameter takes in a file; a precision that is not here counts as float32.
_BYTES_PER_PARAMETER: Mapping[Precision, float] = {
    Precision.FLOAT32: 4.0,
    Precision.FLOAT16: 2.0,
    Precision.Q8: 1.125,
    Precision.Q4: 0.75,
    Precision.QINT8: 1.0,
    Precision.QUINT8: 1.0,
    Precision.QINT8_STATIC: 1.0,
    Precision.QFLOAT8: 1.0,
}


class Stage(StrEnum):
    """A kind of step."""

    EXPORT = "export"
    OPTIMIZE = "optimize"
    QUANTIZE = "quantize"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One file to make.

    Attributes:
        stage: How.
        file: Its path in the output folder.
        source: The file it is made of, in the output folder or (`--model_path`) elsewhere;
            None for an export.
        level: The optimization level of the graph.
        precision: Of the weights.
        floor: What it must reach; None when validation is skipped.
        settings: Everything, beside the bytes it is made of, that decides its bytes.
        options: Of a quantization; its settings tell what of them matters.
    """

    stage: Stage
    file: str
    source: str | None
    level: OptimizationLevel
    precision: Precision
    floor: Floor | None
    settings: Mapping[str, Setting]
    options: QuantizeOptions = field(default_factory=QuantizeOptions)

    @property
    def is_published(self) -> bool:
        """Whether the output folder gets it; else it only leads to other files.

        The weights of such a graph stay in the source's files: see source_tensors.
        """
        return not self.file.startswith(WORK_FOLDER)

    def file_bytes(self, parameters: int) -> int:
        """About how large the file will be.

        Args:
            parameters: Of the model.
        """
        if not self.is_published:
            return 0
        return int(parameters * _BYTES_PER_PARAMETER.get(self.precision, 4.0))

    def work_bytes(self, parameters: int) -> int:
        """About how much room its temporary files take while it is made.

        ONNX Runtime maps the weights from a file of its own for its passes of level 99.
        """
        passed = self.stage is Stage.OPTIMIZE and self.level is OptimizationLevel.ALL
        return parameters * 4 if passed else 0

    def key(self, source_digest: str, stack: Mapping[str, str]) -> str:
        """Returns what identifies the step's outcome: equal keys mean equal bytes.

        Args:
            source_digest: Of what the step is made of.
            stack: Versions of the libraries that do the work.
        """
        identity = [self.stage, dict(self.settings), source_digest, dict(stack)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def optimized_file(level: OptimizationLevel) -> str:
    """Returns the name of the optimized graph of a level."""
    return f"onnx/model_opt{int(level)}.onnx"


def quantized_file(level: OptimizationLevel, precision: Precision) -> str:
    """Returns the name of a quantized graph."""
    return f"onnx/model_opt{int(level)}_{precision}.onnx"


def level_of(file: str) -> OptimizationLevel:
    """Returns the optimization level that a graph's file name tells; NONE when it tells none."""
    for level in OptimizationLevel:
        if file.rpartition("/")[2] == optimized_file(level).rpartition("/")[2]:
            return level
    return OptimizationLevel.NONE


def _floor(request: Request, kind: Kind, precision: Precision) -> Floor | None:
    if request.skip_validation:
        return None
    return floor_for(precision, request.min_cosine, KINDS[kind].measure)


def export_step(request: Request, kind: Kind) -> Step:
    """Returns the step that traces the source."""
    # Of an embedding model no kind is said, as before there were others.
    of_kind = {} if kind is Kind.EMBEDDING else {"kind": str(kind)}
    return Step(
        stage=Stage.EXPORT,
        file=EXPORTED_FILE,
        source=None,
        level=OptimizationLevel.NONE,
        precision=Precision.FLOAT32,
        floor=_floor(request, kind, Precision.FLOAT32),
        settings={
            "opset": request.opset,
            "output": str(request.output),
            "pooling": None if request.pooling is None else str(request.pooling),
            "normalize": request.normalize,
            "dimensions": request.dimensions,
            **of_kind,
        },
    )


def optimize_step(request: Request, kind: Kind, source: str) -> Step:
    """Returns the step that optimizes a graph."""
    return Step(
        stage=Stage.OPTIMIZE,
        file=optimized_file(request.optimize),
        source=source,
        level=request.optimize,
        precision=Precision.FLOAT32,
        floor=_floor(request, kind, Precision.FLOAT32),
        settings={
            "level": int(request.optimize),
            "skip_shape_inference": request.skip_shape_inference,
        },
    )


def quantize_step(
    request: Request,
    kind: Kind,
    source: str,
    level: OptimizationLevel,
    precision: Precision,
    calibration_digest: str,
) -> Step:
    """Returns the step that quantizes a graph.

    Raises:
        UsageError: The oldest ONNX Runtime asked for cannot run it.
    """
    _refuse_too_new(request, precision)
    options = _quantize_options(request, precision)
    settings: dict[str, Setting] = {
        "precision": str(precision),
        "recipes": tuple(map(str, options.recipes)),
    }
    if precision in (Precision.QINT8, Precision.QUINT8, Precision.QINT8_STATIC):
        settings |= {"per_channel": options.per_channel, "reduce_range": options.reduce_range}
    if precision is Precision.QFLOAT8:
        settings |= {"per_channel": options.per_channel}
    if precision in (Precision.Q8, Precision.Q4):
        settings |= {"table_bits": options.table_bits}
    if precision is Precision.QINT8_STATIC:
        settings |= {
            "calibration_method": str(options.calibration_method),
            "quant_format": str(options.quant_format),
        }
    if precision in (Precision.QINT8_STATIC, Precision.FLOAT16) or options.recipes:
        settings |= {"calibration": calibration_digest}
    return Step(
        stage=Stage.QUANTIZE,
        file=quantized_file(level, precision),
        source=source,
        level=level,
        precision=precision,
        floor=_floor(request, kind, precision),
        settings=settings,
        options=options,
    )


def _refuse_too_new(request: Request, precision: Precision) -> None:
    """Raises UsageError when --min_onnxruntime cannot run a precision."""
    oldest = request.min_onnxruntime
    if oldest is None or oldest_for_precision(precision, request.table_bits) <= oldest:
        return
    major, minor = oldest_for_precision(precision, request.table_bits)
    others = [
        p for p in QUANTIZED_PRECISIONS if oldest_for_precision(p, request.table_bits) <= oldest
    ]
    raise UsageError(
        f"{precision} needs ONNX Runtime {major}.{minor}, and --min_onnxruntime is "
        f"{oldest[0]}.{oldest[1]}",
        f"{oldest[0]}.{oldest[1]} runs {', '.join(others)}",
    )


def _quantize_options(request: Request, precision: Precision) -> QuantizeOptions:
    known = RECIPES.get(precision, ())
    usual = DEFAULT_RECIPES.get(precision, ())
    wanted = usual if request.recipes is None else request.recipes
    return QuantizeOptions(
        per_channel=request.per_channel,
        reduce_range=request.reduce_range,
        recipes=tuple(recipe for recipe in known if recipe in wanted),
        table_bits=request.table_bits,
        calibration_method=request.calibration_method,
        quant_format=request.quant_format,
    )


def placed(steps: Collection[Step], rules: LayoutRules, served: Step | None) -> tuple[Step, ...]:
    """Returns the steps with the file names of a layout.

    Final names must be known before anything is written: a graph names its external data.

    Args:
        steps: With the names that `hub` has.
        rules: Of the layout.
        served: The step whose graph a program loads that loads one.
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
