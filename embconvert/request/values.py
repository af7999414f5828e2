"""Parsers of option values; an invalid value is a UsageError with a hint.

Parsers of several options are made by functions that take the option's name, for errors.
"""

import math
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import (
    OPSETS,
    PRECISION_SYNONYMS,
    QUANTIZED_PRECISIONS,
    Inputs,
    MaxSize,
    Precision,
    Recipe,
)
from embconvert.models.compat import OLDEST
from embconvert.models.forms import FORMATS, FormKind
from embconvert.models.routes import is_route_name
from embconvert.models.shapes import Shape
from embconvert.models.suggestions import unknown_value
from embconvert.request.records import AUTO_SHARD, Shard

_MAX_COUNT = 100_000
_MAX_DIGITS = 18
# Linux allows no more.
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4095
_SHOWN = 60
_MAX_FACTOR = 1000


def whole_number(word: str) -> int | None:
    """Returns the number, or None; int() alone would raise for 5,000 digits."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS
    return int(word) if is_number else None


def _decimal(word: str) -> float:
    """Returns the number, or nan, which is in no range."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def boolean(name: str, *, negated: bool = False) -> Callable[[str], bool]:
    def parse(word: str) -> bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(word.lower())
        if value is None:
            raise UsageError(
                f"--{name} cannot be {word!r}", f"write --{name}, --{name}=true or --{name}=false"
            )
        return value is not negated

    return parse


def text(name: str) -> Callable[[str], str]:
    def parse(word: str) -> str:
        if not word.strip() or "\0" in word:
            raise UsageError(f"--{name} is empty", f"give --{name} a value, or remove it")
        return word

    return parse


def names(name: str) -> Callable[[str], tuple[str, ...]]:
    """Returns a parser of one name, or several separated by commas."""
    parse = text(name)
    return lambda word: tuple(dict.fromkeys(parse(part.strip()) for part in word.split(",")))


def route(word: str) -> str:
    if not is_route_name(word):
        raise UsageError(
            f"--route {word[:_SHOWN]!r} is not the name of a route",
            "routes have names such as query and document",
        )
    return word


def adapters(words: str) -> tuple[AdapterChoice, ...]:
    """Parses one adapter, or several separated by commas."""
    return tuple(map(_adapter, words.split(",")))


def _adapter(word: str) -> AdapterChoice:
    """Parses `ID`, `ID@REV` or `ID=WEIGHT`; a local folder may have an @ in its name."""
    name, equals, number = word.strip().rpartition("=")
    weight = 1.0
    if equals:
        weight = _decimal(number)
        if not (math.isfinite(weight) and 0 < abs(weight) <= _MAX_FACTOR):
            raise UsageError(
                f"--adapter {word[:_SHOWN]!r}: the factor after = is not a number, or is 0",
                "write --adapter ID, or --adapter ID=0.5",
            )
    else:
        name = number
    revision: str | None = None
    if not name.startswith(("/", ".", "~")):
        name, at, wanted = name.partition("@")
        revision = wanted if at else None
    if not name.strip() or "\0" in name or revision == "":
        raise UsageError(
            f"--adapter {word[:_SHOWN]!r} names no adapter",
            "write a hub id (org/name), a local folder, or the name of one of the model's adapters",
        )
    return AdapterChoice(name=name, revision=revision, weight=weight)


def path(name: str) -> Callable[[str], Path]:
    """Returns a parser of paths; `~` is the home folder."""
    return lambda word: user_path(f"--{name}", text(name)(word))


def user_path(what: str, word: str) -> Path:
    """Returns the path; `~` is the home folder. Errors name `what`: the option or operand.

    Raises UsageError if it is too long, or starts with the home of an unknown user.
    """
    parts = os.fsencode(word).split(b"/")
    shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}..."
    if max(map(len, parts)) > _MAX_NAME_BYTES or len(os.fsencode(word)) > _MAX_PATH_BYTES:
        raise UsageError(
            f"{what} {shown} is too long for a path",
            f"a file name has at most {_MAX_NAME_BYTES} bytes, and a path {_MAX_PATH_BYTES:,}",
        )
    try:
        return Path(word).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{what} {shown} starts with the home folder of an unknown user", "write the full path"
        ) from error


def by_word(choices: type[StrEnum]) -> dict[str, StrEnum]:
    return {choice.value: choice for choice in choices}


def choice(
    name: str, known: Mapping[str, Any], synonyms: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[str], Any]:
    """Returns a parser of words in any case; errors and help do not list the synonyms."""
    values = {_folded(word): value for word, value in {**synonyms, **known}.items()}

    def parse(word: str) -> Any:
        if _folded(word) not in values:
            raise unknown_value(f"--{name}", word, known)
        return values[_folded(word)]

    return parse


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")


def formats(word: str) -> tuple[FormKind, ...]:
    """Parses one format of further files, or several separated by commas."""
    parse = choice("format", {kind.value: kind for kind in FORMATS})
    return tuple(dict.fromkeys(parse(part.strip()) for part in word.split(",")))


def shapes(name: str) -> Callable[[str], tuple[Shape, ...]]:
    """Returns a parser of sizes of batches, such as 1x16,32x128: texts and the tokens of each."""

    def parse(word: str) -> tuple[Shape, ...]:
        found = []
        for part in word.split(","):
            texts, _, tokens = part.strip().lower().partition("x")
            numbers = whole_number(texts), whole_number(tokens)
            if not all(number is not None and 0 < number <= _MAX_COUNT for number in numbers):
                raise UsageError(
                    f"--{name} must be numbers of texts and their tokens, not {word[:_SHOWN]}",
                    f"write --{name} 1x16,32x128; each number is at most {_MAX_COUNT:,}",
                )
            found.append(Shape(texts=numbers[0] or 0, tokens=numbers[1] or 0))
        return tuple(dict.fromkeys(found))

    return parse


def precisions(word: str) -> tuple[Precision, ...] | None:
    """Parses one precision, several separated by commas, or `auto` (None)."""
    if word.lower() == "auto":
        return None
    known = {p.value: p for p in QUANTIZED_PRECISIONS} | {"auto": None}
    synonyms = {**PRECISION_SYNONYMS, Precision.FLOAT32.value: Precision.FLOAT32}
    parse = choice("quantize", known, synonyms)
    found = [parse(part.strip()) for part in word.split(",")]
    if Precision.FLOAT32 in found:
        raise UsageError(
            f"--quantize {word}: Float32 is not quantized",
            "omit it: `embconvert all` publishes it, too",
        )
    if None in found:
        raise UsageError(
            f"--quantize {word}: auto cannot be combined with precisions",
            "write --quantize auto, or only precisions",
        )
    return tuple(dict.fromkeys(found))


#: In the order in which a size's end is compared with them.
_UNITS = {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9, "%": 0.01,
}  # fmt: skip


def inputs(word: str) -> Inputs:
    """Reads the value of --inputs; the order of the names does not matter."""
    names = {name.strip().lower() for name in word.split(",")}
    for known in Inputs:
        if names == set(known.names):
            return known
    raise UsageError(
        f"--inputs {word!r} is unknown", f"write --inputs {' or --inputs '.join(Inputs)}"
    )


def size(word: str) -> MaxSize:
    """Parses a file size (25MB, 1.5GB, 900KiB) or a percentage of the float32 size (30%)."""
    text = word.strip()
    units = (unit for unit in _UNITS if text.lower().endswith(unit.lower()))
    unit = next(units, "")
    number = text.removesuffix(text[len(text) - len(unit) :]) if unit else text
    value = _decimal(number) * _UNITS.get(unit, 1)
    if not unit and value > 0:
        raise UsageError(
            f"--max_size {word} has no unit",
            f"write --max_size {text}MB, or {text}% of the float32 size",
        )
    if unit == "%" and 0 < value <= 1:
        return MaxSize(text=f"{number.strip()}% of the float32 size", share=value)
    if unit != "%" and 1 <= value < 2**62:
        return MaxSize(text=text, size_bytes=int(value))
    raise UsageError(
        f"--max_size {word} is not a size", "write it as 25MB, 1.5GB, or 30% (of the float32 size)"
    )


def speedup(word: str) -> float:
    value = _decimal(word)
    if not 0 < value < math.inf:
        raise UsageError(
            f"--min_speedup must be a number above 0, not {word}", "for example, --min_speedup 1.5"
        )
    return value


def points(word: str) -> float:
    """Reads the value of --max_loss."""
    value = _decimal(word)
    if not 0 <= value <= 100:
        raise UsageError(
            f"--max_loss must be a number of points from 0 to 100, not {word}",
            "for example, --max_loss 0.5",
        )
    return value


def recipes(word: str) -> tuple[Recipe, ...]:
    """Parses `none`, one recipe, or several separated by commas."""
    if word.lower() == "none":
        return ()
    parse = choice("recipes", by_word(Recipe))
    return tuple(dict.fromkeys(parse(part.strip()) for part in word.split(",")))


def runtime(word: str) -> tuple[int, int]:
    """Parses a release of ONNX Runtime, such as 1.22 or 1.22.1, to major and minor."""
    numbers = [whole_number(part) for part in word.split(".")]
    if len(numbers) not in (2, 3) or None in numbers:
        raise UsageError(
            f"--min_onnxruntime must be a version, not {word}",
            "for example, --min_onnxruntime 1.22",
        )
    major, minor, *_ = (number or 0 for number in numbers)
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(
            f"--min_onnxruntime {word} is older than {oldest}, the oldest supported release",
            f"write --min_onnxruntime {oldest} or newer",
        )
    return major, minor


def opset(word: str) -> int:
    number = whole_number(word)
    if number is None or number not in OPSETS:
        raise UsageError(
            f"--opset must be between {OPSETS[0]} and {OPSETS[-1]}, not {word}",
            "for example, --opset 17, the default",
        )
    return number


def share(name: str, example: str) -> Callable[[str], float]:
    """Returns a parser of numbers between 0 and 1."""

    def parse(word: str) -> float:
        value = _decimal(word)
        if not 0.0 <= value <= 1.0:
            raise UsageError(
                f"--{name} must be between 0 and 1, not {word}", f"for example, --{name} {example}"
            )
        return value

    return parse


def positive(name: str) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1 to 2^31 - 1."""

    def parse(word: str) -> int:
        number = whole_number(word)
        if number is None or not 0 < number < 1 << 31:
            raise UsageError(
                f"--{name} must be a whole number above 0, not {word}", f"for example, --{name} 256"
            )
        return number

    return parse


def device(word: str) -> str:
    kind, _, index = word.lower().partition(":")
    if kind not in ("cpu", "cuda", "mps", "xpu") or (index and whole_number(index) is None):
        raise unknown_value("--device", word, ("cpu", "cuda", "cuda:0", "mps", "xpu"))
    return word.lower()


def count(name: str) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1 to _MAX_COUNT."""

    def parse(word: str) -> int:
        number = whole_number(word)
        if number is None or not 1 <= number <= _MAX_COUNT:
            raise UsageError(
                f"--{name} must be a whole number, not {word}",
                f"give a number from 1 to {_MAX_COUNT}",
            )
        return number

    return parse


def shard(word: str) -> Shard | str:
    """Parses a part of a list, such as 1/4, or the word auto."""
    if word.lower() == AUTO_SHARD:
        return AUTO_SHARD
    index, _, number = word.partition("/")
    parse = count("shard")
    try:
        found = Shard(index=parse(index) - 1, count=parse(number))
    except UsageError:
        found = Shard(index=0, count=0)
    if found.index >= found.count:
        raise UsageError(
            f"--shard must be a part of a list, not {word}",
            "write --shard 1/4 to --shard 4/4, or auto",
        )
    return found
