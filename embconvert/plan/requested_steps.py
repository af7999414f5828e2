"""The steps that a request asks for, with the settings that are their cache keys."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from embconvert.fidelity.floors import Floor, floor_for
from embconvert.manifest.artifacts import SettingValue
from embconvert.manifest.layouts import LAYOUTS, STANDARD, too_new
from embconvert.models.choices import (
    BLOCK_BITS,
    QUANTIZED_PRECISIONS,
    Operators,
    OptimizationLevel,
    Output,
    OutputPrecision,
    Precision,
)
from embconvert.models.compat import TOKEN_SCALES, newer_than, oldest_for_precision
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.recipes import (
    PRECISIONS_OF_OPTIONS,
    QuantizeOptions,
    Recipe,
    recipes_of,
    uses_texts,
)
from embconvert.models.values import TOKEN_WEIGHTS
from embconvert.plan.steps import (
    EXPORTED_FILE,
    Stage,
    Step,
    optimized_file,
    quantized_file,
)
from embconvert.request.records import Request
from embconvert.rewrite.standard import FORMS


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
    of_codes: dict[str, SettingValue] = {}
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
) -> dict[str, SettingValue]:
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
    settings: dict[str, SettingValue] = {
        "precision": str(precision),
        "recipes": tuple(map(str, options.recipes)),
    }
    for name, precisions in PRECISIONS_OF_OPTIONS.items():
        if precision in precisions:
            value = getattr(options, name)
            settings[name] = str(value) if isinstance(value, StrEnum) else value
    if uses_texts(precision, options.recipes):
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
    return QuantizeOptions(
        per_channel=request.per_channel,
        reduce_range=request.reduce_range,
        recipes=recipes_of(precision, request.recipes),
        table_bits=request.table_bits,
        calibration_method=request.calibration_method,
        quant_format=request.quant_format,
    )
