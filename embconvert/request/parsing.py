"""From the words of a command line to a Request, and back."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any

from embconvert.errors import UsageError
from embconvert.foreign_text import shell_line
from embconvert.models.choices import (
    QUANTIZED_PRECISIONS,
    RECIPES,
    Command,
    MaxSize,
    OptimizationLevel,
    Precision,
)
from embconvert.request.options import Option, options_of
from embconvert.request.records import Request

#: What these say has no part in the graphs' bytes or figures, or only here and now.
_NOT_REPEATED = {
    "output_parent_dir", "cache_dir", "offline", "dry_run", "json", "quiet", "debug",
    "max_graph_seconds",
}  # fmt: skip


def command_line(request: Request, *, revision: str | None) -> str:
    """Returns the command line that makes a request's graphs again.

    Args:
        request: What was asked for.
        revision: The hub's commit that it was resolved to; None for a local folder.
    """
    pinned = replace(request, revision=revision)
    usual = Request(command=request.command, model_id="")
    words = ["embconvert", str(request.command)]
    for option in options_of(request.command).values():
        value = getattr(pinned, option.request_field)
        if option.name == "quantize" and request.auto:
            value = "auto"
        if option.name in _NOT_REPEATED or value == getattr(usual, option.request_field):
            continue
        if not option.is_flag:
            words += [f"--{option.name}", _as_word(value)]
        elif value == option.parse("true"):
            words.append(f"--{option.name}")
    return shell_line(*words)


def _as_word(value: Any) -> str:
    if isinstance(value, MaxSize):
        return value.text if value.share is None else f"{100 * value.share:g}%"
    if isinstance(value, tuple):
        is_version = bool(value) and all(type(part) is int for part in value)
        return ("." if is_version else ",").join(map(_as_word, value)) or "none"
    return str(int(value) if isinstance(value, IntEnum) else value)


def parse_options(options: Iterable[Option], words: Mapping[str, str]) -> dict[str, Any]:
    """Turns the words of a command line into values.

    Args:
        options: Those that the command takes.
        words: Option name to word; options that were not given are absent.

    Returns:
        Field name to value.

    Raises:
        UsageError: A word is not one of the known ones, or two contradict.
    """
    found: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    known = {option.name: option for option in options}
    for name, word in words.items():
        option = known[name]
        value = option.parse(word)
        field = option.request_field
        if field in found and found[field] != value:
            raise UsageError(f"--{set_by[field]} and --{name} contradict", "give one of them")
        found[field], set_by[field] = value, name
    return found


def _refuse_unused(fields: Mapping[str, Any]) -> None:
    """Raises UsageError for an option that none of the precisions asked for looks at."""
    asked = set(fields.get("quantize", ()))
    users = {
        "table_bits": {Precision.Q8, Precision.Q4},
        "calibration_method": {Precision.QINT8_STATIC},
        "quant_format": {Precision.QINT8_STATIC},
    }
    for name, precisions in users.items():
        if name in fields and not asked & precisions:
            raise _unused(f"--{name}", precisions)
    for recipe in fields.get("recipes") or ():
        precisions = {p for p, known in RECIPES.items() if recipe in known}
        if not asked & precisions:
            raise _unused(f"--recipes {recipe}", precisions)


def _unused(option: str, precisions: Collection[Precision]) -> UsageError:
    names = [p for p in QUANTIZED_PRECISIONS if p in precisions]
    return UsageError(
        f"{option} is for {', '.join(names)}", f"add --quantize {names[0]}, or leave it out"
    )


def make_request(command: Command, fields: Mapping[str, Any]) -> Request:
    """Returns the request of a conversion.

    Args:
        command: The verb.
        fields: As parse_options gives them.

    Raises:
        UsageError: A value is missing.
    """
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
                "--quantize auto compares what it tries, and --skip_validation forbids it",
                "leave one of them out",
            )
    for name in ("max_size", "min_speedup"):
        if name in fields and not auto:
            raise UsageError(f"--{name} is for --quantize auto", "add --quantize auto")
    if command is Command.QUANTIZE and not auto and not fields.get("quantize"):
        raise UsageError(
            "--quantize is missing",
            f"write: --quantize {'|'.join(QUANTIZED_PRECISIONS)}, or several with commas",
        )
    if not auto:
        _refuse_unused(fields)
    if fields.get("no_float32") and not fields.get("quantize"):
        raise UsageError(
            "--no_float32 leaves no file to publish",
            f"add --quantize {'|'.join(QUANTIZED_PRECISIONS)} (auto needs the float32 graphs), "
            "or leave --no_float32 out",
        )
    if fields.get("no_float32") and fields.get("optimize") is OptimizationLevel.ALL:
        raise UsageError(
            "--no_float32 does not go with --optimize 99, which writes the weights on the way",
            "use --optimize 1",
        )
    return Request(command=command, **fields)
