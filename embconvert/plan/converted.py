"""The steps of a layout whose files have another form than ONNX; data only."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec

from embconvert.errors import UsageError
from embconvert.manifest.artifacts import SettingValue
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.forms import FileForm
from embconvert.models.kinds import Kind
from embconvert.plan.requested_steps import floor_of_step
from embconvert.plan.steps import Stage, Step
from embconvert.request.records import Request

#: The packages of the extra `openvino`; versions of the first ones determine a file's bytes.
_PACKAGES = ("openvino", "nncf")
#: Options of our own optimizer and quantizers.
_OF_ONNX = (
    "operators", "skip_shape_inference",
    "recipes", "table_bits", "per_channel", "reduce_range", "calibration_method", "quant_format",
)  # fmt: skip


def converted_steps(
    request: Request, kind: Kind, exported: Step, calibration_digest: str
) -> tuple[Step, ...]:
    """Returns the steps that convert the exported graph, to float32 and to each precision.

    They are all made from it: the layout's runtime optimizes graphs itself, and does not know ONNX
    Runtime's operators.
    """
    rules = LAYOUTS[request.layout]
    if rules.form is None:
        return ()
    form = FileForm(kind=rules.form)
    return tuple(
        Step(
            stage=Stage.DERIVE,
            file=rules.names[precision],
            source=exported.file,
            level=OptimizationLevel.NONE,
            precision=precision,
            floor=floor_of_step(request, kind, precision),
            settings=_settings(form, precision, calibration_digest),
            forms=(form,),
        )
        for precision in (Precision.FLOAT32, *request.quantize)
        if precision in rules.names  # others are refused, by check_layout
    )


def _settings(form: FileForm, precision: Precision, digest: str) -> Mapping[str, SettingValue]:
    # Not of the stack, which every folder has.
    packages = {name: metadata.version(name) for name in _PACKAGES if find_spec(name)}
    is_calibrated = precision is Precision.QINT8_STATIC
    calibration = {"calibration": digest} if is_calibrated else {}
    return {"form": str(form), "precision": str(precision), **packages, **calibration}


def check_converted(request: Request) -> Sequence[str]:
    """Raises UsageError for what has no effect, or is not installed; returns remarks for users."""
    rules, program = LAYOUTS[request.layout], consumer_of(request.layout).name
    if rules.form is None:
        return ()
    asked = f"--layout {request.layout}"
    if request.auto:
        raise UsageError(
            f"--quantize auto searches among ONNX graphs, which {program} does not load",
            f"with {asked}, name precisions: --quantize {','.join(list(rules.names)[1:])}",
        )
    if request.no_float32:
        raise UsageError(
            f"{asked} needs the float32 graph, which --no_float32 does not write",
            "omit --no_float32",
        )
    if any(request.forms):
        raise UsageError(
            f"--shape, --format and --tokenizer are for ONNX graphs, but {asked} has those of "
            f"{program}",
            f"omit them; {program} fixes shapes when it loads a file (Model.reshape)",
        )
    usual = Request(command=request.command, model_id="")
    for name in _OF_ONNX:
        if getattr(request, name) != getattr(usual, name):
            raise UsageError(
                f"--{name} has no effect with {asked}: its files are made from the exported graph, "
                "and NNCF quantizes them",
                "omit it",
            )
    calibrates = (
        Precision.QINT8_STATIC in request.quantize or request.output_precision.is_calibrated
    )
    if request.calibration_dataset is not None and not calibrates:
        raise UsageError(
            f"--calibration_dataset has no effect with {asked}: of its files, only those of "
            f"{Precision.QINT8_STATIC} are calibrated",
            "omit it",
        )
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{asked} needs {' and '.join(missing)}, which embconvert does not install by itself",
            "run: pip install 'embconvert[openvino]'",
        )
    return (f"{asked}: no optimized ONNX file is written, since {program} optimizes by itself",)
