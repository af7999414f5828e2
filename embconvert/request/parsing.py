"""From the words of a command line to a Request, and back."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from embconvert.errors import UsageError
from embconvert.foreign_text import shell_line
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import (
    QUANTIZED_PRECISIONS,
    Command,
    MaxSize,
    Operators,
    OptimizationLevel,
    OutputPrecision,
    Precision,
)
from embconvert.models.recipes import PRECISIONS_OF_OPTIONS, RECIPES, recipes_of, uses_texts
from embconvert.request.options import Option, options_of
from embconvert.request.records import Request

_OUTPUT_OPTIONS = frozenset({"dry_run", "json", "quiet", "debug"})
#: Options that do not change the graphs or their figures.
_NOT_REPEATED = _OUTPUT_OPTIONS | {
    "output_parent_dir", "cache_dir", "offline", "max_graph_seconds",
}  # fmt: skip
#: Thresholds of quantized files.
_THRESHOLDS = ("min_cosine", "min_neighbours")


def command_line(
    request: Request, *, model_id: str, revision: str | None, adapters: Sequence[AdapterChoice] = ()
) -> str:
    """Returns the command line that makes a request's graphs again, for publication.

    Paths are reduced to file names, because the locations on this machine are private.

    Args:
        model_id: As ResolvedModel.public_id.
        revision: The hub's commit that it was resolved to; None for a local folder.
        adapters: The same of its adapters.
    """
    pinned = replace(request, model_id=model_id, revision=revision, adapter=tuple(adapters))
    return _line(pinned, request.command, without=_NOT_REPEATED, path=lambda path: path.name)


def next_command(request: Request, command: Command, **changes: Any) -> str:
    """Returns the line of another command for the same model, with these changes, for hints."""
    without = _OUTPUT_OPTIONS
    if command is Command.EXPORT and not request.output_precision.is_calibrated:
        without |= {"calibration_dataset"}  # it would have no effect
    return _line(replace(request, **changes), command, without=without, path=str)


def _line(
    request: Request, command: Command, *, without: Collection[str], path: Callable[[Path], str]
) -> str:
    usual = Request(command=command, model_id="")
    words = ["embconvert", str(command)]
    for option in options_of(command).values():
        value = getattr(request, option.request_field)
        if option.name == "quantize" and request.auto:
            value = "auto"
        if option.name in without or value == getattr(usual, option.request_field):
            continue
        if not option.is_flag:
            words += [
                f"--{option.name}",
                path(value) if isinstance(value, Path) else word_of(value),
            ]
        elif value == option.parse("true"):
            words.append(f"--{option.name}")
    return shell_line(*words)


def word_of(value: Any) -> str:
    """Returns a value as the word of a command line that option.parse() takes."""
    if isinstance(value, MaxSize):
        return value.text if value.share is None else f"{100 * value.share:g}%"
    if isinstance(value, tuple):
        is_version = bool(value) and all(type(part) is int for part in value)
        return ("." if is_version else ",").join(map(word_of, value)) or "none"
    return str(int(value) if isinstance(value, IntEnum) else value)


def parse_options(options: Iterable[Option], words: Mapping[str, str]) -> dict[str, Any]:
    """Returns the options' values by field; raises UsageError for invalid or contradictory ones."""
    found: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    known = {option.name: option for option in options}
    for name, word in words.items():
        option = known[name]
        value = option.parse(word)
        field = option.request_field
        if field in found and found[field] != value:
            raise UsageError(
                f"--{set_by[field]} and --{name} cannot be used together", "remove one of them"
            )
        found[field], set_by[field] = value, name
    return found


def understood(option: Option, word: str) -> str | None:
    """Returns a remark if a valid word was read as another, such as int8 as QInt8; else None."""
    value = option.parse(word)
    if isinstance(value, Path | MaxSize | bool | float):
        return None
    usual = "auto" if value is None else word_of(value)
    if usual in (word, word.replace(" ", "")):
        return None
    return f"--{option.name} {word} is read as {usual}"


def _refuse_unused(fields: Mapping[str, Any], *, is_auto: bool) -> None:
    """Raises UsageError for an option that changes nothing in this request."""
    if fields.get("force_dimensions") and "dimensions" not in fields:
        raise UsageError(
            "--force_dimensions has no effect without --dimensions",
            "add --dimensions N, or omit it",
        )
    for name in ("full_validation", *_THRESHOLDS) if fields.get("skip_validation") else ():
        if fields.get(name, False) is not False:
            raise UsageError(
                f"--{name} has no effect with --skip_validation: nothing is compared",
                "remove one of them",
            )
    if not is_auto:  # which may try any precision
        _refuse_unquantized(fields)


def _refuse_unquantized(fields: Mapping[str, Any]) -> None:
    """Raises UsageError for an option that none of the requested precisions uses."""
    asked = set(fields.get("quantize", ()))
    for name in _THRESHOLDS:
        if name in fields and not asked:
            raise UsageError(
                f"--{name} has no effect without --quantize", "add --quantize QInt8, or omit it"
            )
    for name, precisions in PRECISIONS_OF_OPTIONS.items():
        if name in fields and not asked & set(precisions):
            raise _unused(f"--no_{name}" if fields[name] is False else f"--{name}", precisions)
    for recipe in fields.get("recipes") or ():
        precisions = tuple(p for p, known in RECIPES.items() if recipe in known)
        if not asked & set(precisions):
            raise _unused(f"--recipes {recipe}", precisions)
    if "calibration_dataset" in fields:
        _refuse_unread_texts(fields)


def _refuse_unread_texts(fields: Mapping[str, Any]) -> None:
    """Raises UsageError for calibration texts that no file of a request is made with."""
    asked, recipes = fields.get("quantize", ()), fields.get("recipes")
    codes = fields.get("output_precision", OutputPrecision.FLOAT32)
    if codes.is_calibrated or any(uses_texts(p, recipes_of(p, recipes)) for p in asked):
        return
    if not asked:
        raise UsageError(
            "--calibration_dataset has no effect without --quantize or --output_precision int8",
            "add one of them, or omit it",
        )
    without = f" with --recipes {word_of(recipes)}" if recipes is not None else ""
    raise UsageError(
        f"--calibration_dataset has no effect: {', '.join(asked)}{without} uses no calibration "
        "texts",
        "omit it",
    )


def _unused(option: str, precisions: Collection[Precision]) -> UsageError:
    names = [p for p in QUANTIZED_PRECISIONS if p in precisions]
    return UsageError(
        f"{option} applies only to {', '.join(names)}",
        f"add --quantize {names[0]}, or remove {option}",
    )


def make_request(command: Command, fields: Mapping[str, Any]) -> Request:
    """Returns the request of a conversion; raises UsageError if options exclude each other."""
    if "model_id" not in fields:
        raise UsageError(
            "--model_id is missing",
            f"write: embconvert {command} --model_id org/name, or a local folder",
        )
    fields = dict(fields)
    auto = "quantize" in fields and fields["quantize"] is None
    if auto:
        fields |= {"quantize": (), "auto": True}
        if fields.get("skip_validation"):
            raise UsageError(
                "--quantize auto cannot be used with --skip_validation: it needs the comparison",
                "remove one of them",
            )
    if "max_loss" in fields and "evaluate" not in fields:
        raise UsageError(
            "--max_loss has no effect without --evaluate", "add --evaluate PATH, or omit it"
        )
    for name in ("max_size", "min_speedup", "evaluate"):
        if name in fields and not auto:
            raise UsageError(f"--{name} works only with --quantize auto", "add --quantize auto")
    if command is Command.QUANTIZE and not auto and not fields.get("quantize"):
        raise UsageError(
            "--quantize is missing",
            f"write: --quantize {'|'.join(QUANTIZED_PRECISIONS)}, or several with commas",
        )
    _refuse_unused(fields, is_auto=auto)
    if fields.get("no_float32") and not fields.get("quantize"):
        raise UsageError(
            "--no_float32 without --quantize leaves no file to publish",
            f"add --quantize {'|'.join(QUANTIZED_PRECISIONS)} (auto needs the float32 graphs), or "
            "remove --no_float32",
        )
    standard = fields.get("operators") is Operators.STANDARD
    if standard and fields.get("optimize") is OptimizationLevel.ALL:
        raise UsageError(
            "--operators standard cannot be used with --optimize 99, which has operators of ONNX "
            "Runtime",
            "use --optimize 1",
        )
    if fields.get("no_float32") and fields.get("optimize") is OptimizationLevel.ALL:
        raise UsageError(
            "--no_float32 cannot be used with --optimize 99, which writes float32 weights",
            "use --optimize 1",
        )
    return Request(command=command, **fields)
