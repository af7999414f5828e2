"""The steps of a plan and their cache keys; data only."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from embconvert.fidelity.floors import Floor, floor_for
from embconvert.manifest.layouts import LAYOUTS, STANDARD, LayoutRules, too_new
from embconvert.models.choices import (
    BLOCK_BITS,
    DEFAULT_RECIPES,
    HALF_PRECISIONS,
    QUANTIZED_PRECISIONS,
    RECIPES,
    Operators,
    OptimizationLevel,
    Output,
    OutputPrecision,
    Precision,
    QuantizeOptions,
    Recipe,
)
from embconvert.models.compat import TOKEN_SCALES, newer_than, oldest_for_precision
from embconvert.models.forms import FileForm
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.values import TOKEN_WEIGHTS
from embconvert.request.records import Request
from embconvert.rewrite.standard import FORMS

#: An option's value; several are a tuple.
Setting = str | bool | int | float | tuple[str, ...] | None

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
    settings: Mapping[str, Setting]
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


def float32_only(request: Request, modules: Sequence[str]) -> Request:
    """Returns what remains of a request for a model without vectors or matrices to quantize."""
    if TOKEN_WEIGHTS not in modules:
        return request
    return replace(request, quantize=(), auto=False, no_float32=False)


def pooled_only(request: Request, modules: Sequence[str]) -> Request:
    """Returns what remains of a request for a model that has no token logits."""
    if request.output is not Output.LOGITS or TOKEN_WEIGHTS not in modules:
        return request
    return replace(request, output=Output.BOTH)


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


def floor_of_step(request: Request, kind: Kind, precision: Precision) -> Floor | None:
    if request.skip_validation:
        return None
    return floor_for(
        precision,
        request.min_cosine,
        KINDS[kind].measure,
        min_neighbours=request.min_neighbours,
        is_bits=request.output_precision.is_bits,
    )


def export_step(request: Request, kind: Kind, calibration_digest: str) -> Step:
    # Omit these where they are the usual, so that existing cache keys stay valid.
    of_kind = {} if kind is Kind.EMBEDDING else {"kind": str(kind)}
    of_route = {} if request.route is None else {"route": request.route}
    of_template = (
        {"reranker_template": request.reranker_template} if request.reranker_template else {}
    )
    own_inputs = {} if request.inputs is None else {"inputs": str(request.inputs)}
    of_codes: dict[str, Setting] = {}
    if request.output_precision is not OutputPrecision.FLOAT32:
        of_codes["output_precision"] = str(request.output_precision)
    if request.output_precision.is_calibrated:
        of_codes["calibration"] = calibration_digest
    return Step(
        stage=Stage.EXPORT,
        file=EXPORTED_FILE,
        source=None,
        level=OptimizationLevel.NONE,
        precision=Precision.FLOAT32,
        floor=floor_of_step(request, kind, Precision.FLOAT32),
        settings={
            "opset": request.opset,
            "output": str(request.output),
            "pooling": None if request.pooling is None else str(request.pooling),
            "normalize": request.normalize,
            "dimensions": request.dimensions,
            **of_kind,
            **of_route,
            **of_template,
            **own_inputs,
            **of_codes,
        },
    )


def _replaced(request: Request, precision: Precision = Precision.FLOAT32) -> tuple[str, ...]:
    """Returns the operators to write in standard ones.

    What a layout lacks counts only for the precisions that have it: other files are the same in all
    layouts, so that a change of layout only renames them.
    """
    if request.operators is Operators.STANDARD:
        return tuple(FORMS)
    lacking = set(newer_than(request.min_onnxruntime))
    if precision in BLOCK_BITS:
        lacking |= set(LAYOUTS[request.layout].lacks)
    return tuple(name for name in FORMS if name in lacking)


def _operator_settings(
    request: Request, precision: Precision = Precision.FLOAT32
) -> dict[str, Setting]:
    """Returns nothing in the usual case, so that existing cache keys stay valid."""
    if request.operators is not Operators.ANY:
        return {"operators": str(request.operators)}
    replaced = _replaced(request, precision)
    return {"replaced_operators": replaced} if replaced else {}


def optimize_step(request: Request, kind: Kind, source: str) -> Step:
    return Step(
        stage=Stage.OPTIMIZE,
        file=optimized_file(request.optimize),
        source=source,
        level=request.optimize,
        precision=Precision.FLOAT32,
        floor=floor_of_step(request, kind, Precision.FLOAT32),
        settings={
            "level": int(request.optimize),
            "skip_shape_inference": request.skip_shape_inference,
            **_operator_settings(request),
        },
        replaced=_replaced(request),
    )


def quantize_step(
    request: Request,
    kind: Kind,
    source: str,
    level: OptimizationLevel,
    precision: Precision,
    calibration_digest: str,
) -> Step:
    _refuse_too_new(request, precision)
    options = _quantize_options(request, precision)
    release = request.min_onnxruntime
    if Recipe.TOKEN_SCALES in options.recipes and release is not None and release < TOKEN_SCALES:
        what = f"{precision} with the recipe {Recipe.TOKEN_SCALES}"
        hint = "add --recipes smooth,bias_correction,row_table"
        raise too_new(what, TOKEN_SCALES, request, hint)
    settings: dict[str, Setting] = {
        "precision": str(precision),
        "recipes": tuple(map(str, options.recipes)),
    }
    if precision in (Precision.QINT8, Precision.QUINT8, Precision.QINT8_STATIC):
        settings |= {"per_channel": options.per_channel, "reduce_range": options.reduce_range}
    if precision is Precision.QFLOAT8:
        settings |= {"per_channel": options.per_channel}
    if precision in BLOCK_BITS:
        settings |= {"table_bits": options.table_bits}
    if precision is Precision.QINT8_STATIC:
        settings |= {
            "calibration_method": str(options.calibration_method),
            "quant_format": str(options.quant_format),
        }
    calibrated = (Precision.QINT8_STATIC, *HALF_PRECISIONS)
    if precision in calibrated or options.recipes:
        settings |= {"calibration": calibration_digest}
    settings |= _operator_settings(request, precision)
    return Step(
        stage=Stage.QUANTIZE,
        file=quantized_file(level, precision),
        source=source,
        level=level,
        precision=precision,
        floor=floor_of_step(request, kind, precision),
        settings=settings,
        replaced=_replaced(request, precision),
        options=options,
    )


def _refuse_too_new(request: Request, precision: Precision) -> None:
    """Raises UsageError if --min_onnxruntime does not support a precision."""
    release = request.min_onnxruntime

    def needed(wanted: Precision, operators: Operators = request.operators) -> tuple[int, int]:
        return oldest_for_precision(wanted, request.table_bits, operators)

    if release is None or needed(precision) <= release:
        return
    others = [p for p in QUANTIZED_PRECISIONS if needed(p) <= release]
    hint = f"{release[0]}.{release[1]} supports {', '.join(others)}"
    in_standard = needed(precision, Operators.STANDARD) <= release
    hint = f"{hint}; or add {STANDARD}" if in_standard else hint
    raise too_new(precision, needed(precision), request, hint)


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
