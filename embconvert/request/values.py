"""From the words of a command line to values; what is no value is a UsageError with a hint.

A parser that needs the option's name for its errors is made by a function that takes it.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.choices import (
    OPSETS,
    QUANTIZED_PRECISIONS,
    MaxSize,
    Precision,
    Recipe,
    unknown_value,
)
from embconvert.request.records import AUTO_SHARD, Shard

_MAX_COUNT = 100_000
_MAX_DIGITS = 18
# What Linux allows; of a path that is too long, so much is shown.
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4095
_SHOWN = 60


def whole_number(word: str) -> int | None:
    """Returns the number that digits stand for, or None: of 5,000 digits Python reads none."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS
    return int(word) if is_number else None


def boolean(name: str, *, negated: bool = False) -> Callable[[str], bool]:
    """Returns a parser of true and false."""

    def parse(word: str) -> bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(word.lower())
        if value is None:
            raise UsageError(
                f"--{name} cannot be {word!r}", f"write --{name} alone, or =true, =false"
            )
        return value is not negated

    return parse


def text(name: str) -> Callable[[str], str]:
    """Returns a parser of any text that is not empty."""

    def parse(word: str) -> str:
        if not word.strip() or "\0" in word:
            raise UsageError(f"--{name} is empty", f"give --{name} a value, or leave it out")
        return word

    return parse


def path(name: str) -> Callable[[str], Path]:
    """Returns a parser of paths; `~` is the home folder."""
    return lambda word: user_path(f"--{name}", text(name)(word))


def user_path(what: str, word: str) -> Path:
    """Returns the path that a word names; `~` is the home folder.

    Args:
        what: What it is the value of, for errors.
        word: As the user wrote it.

    Raises:
        UsageError: No file can have this path, or it begins with the home of an unknown user.
    """
    parts = os.fsencode(word).split(b"/")
    shown = word if len(word) <= _SHOWN else f"{word[:_SHOWN]}..."
    if max(map(len, parts)) > _MAX_NAME_BYTES or len(os.fsencode(word)) > _MAX_PATH_BYTES:
        raise UsageError(
            f"{what} {shown} is no path: it is too long",
            f"a name has at most {_MAX_NAME_BYTES} bytes, and a path {_MAX_PATH_BYTES:,}",
        )
    try:
        return Path(word).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{what} {shown} begins with the home of a user who has none", "write the path in full"
        ) from error


def choice(name: str, known: Mapping[str, Any]) -> Callable[[str], Any]:
    """Returns a parser of these words, to the values that they stand for."""

    def parse(word: str) -> Any:
        if word not in known:
            raise unknown_value(f"--{name}", word, known)
        return known[word]

    return parse


def precisions(word: str) -> tuple[Precision, ...] | None:
    """Parses one precision, several with commas, or `auto`: None."""
    if word == "auto":
        return None
    parse = choice("quantize", {p.value: p for p in QUANTIZED_PRECISIONS} | {"auto": None})
    found = [parse(part.strip()) for part in word.split(",")]
    if None in found:
        raise UsageError(
            f"--quantize {word}: auto chooses one precision by itself",
            "write --quantize auto alone, or name the precisions",
        )
    return tuple(dict.fromkeys(found))


def size(word: str) -> MaxSize:
    """Parses a file size, as 25MB, 1.5GB or 900kB, or a share of float32's, as 30%."""
    number, factor = word.strip(), 1
    share = number.endswith("%")
    for unit, times in (("%", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9)):
        if number.lower().endswith(unit.lower()):
            number, factor = number[: -len(unit)], times
            break
    try:
        value = float(number) * factor
    except ValueError:
        value = 0.0
    if share and 0 < value <= 100:
        return MaxSize(text=f"{number}% of float32's size", share=value / 100)
    if not share and 1 <= value < 2**62:
        return MaxSize(text=word.strip(), size_bytes=int(value))
    raise UsageError(
        f"--max_size {word} is no size", "write it as 25MB, 1.5GB, or 30% of float32's size"
    )


def speedup(word: str) -> float:
    """Parses a factor above 0."""
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise UsageError(f"--min_speedup {word} is no factor", "give a number above 0, as 1.5")
    return value


def recipes(word: str) -> tuple[Recipe, ...]:
    """Parses `none`, one recipe, or several with commas."""
    if word == "none":
        return ()
    parse = choice("recipes", {r.value: r for r in Recipe})
    return tuple(dict.fromkeys(parse(part.strip()) for part in word.split(",")))


def runtime(word: str) -> tuple[int, int]:
    """Parses a release of ONNX Runtime, as 1.22 or 1.22.1; what counts is its minor version."""
    numbers = [whole_number(part) for part in word.split(".")]
    if len(numbers) not in (2, 3) or None in numbers:
        raise UsageError(
            f"--min_onnxruntime {word} is no version", "give the release's number, as 1.22"
        )
    major, minor, *_ = (number or 0 for number in numbers)
    return major, minor


def opset(word: str) -> int:
    """Parses an ONNX operator set."""
    number = whole_number(word)
    if number is None or number not in OPSETS:
        raise UsageError(
            f"--opset {word} does not work",
            f"choose one from {OPSETS[0]} to {OPSETS[-1]}; 17 is the default",
        )
    return number


def cosine(word: str) -> float:
    """Parses a number from 0 to 1."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"--min_cosine {word} is no cosine", "give a number from 0 to 1, as 0.98")
    return value


def positive(name: str) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1."""

    def parse(word: str) -> int:
        number = whole_number(word)
        if number is None or not 0 < number < 1 << 31:
            raise UsageError(f"--{name} {word} is no number of them", f"write --{name} 256, say")
        return number

    return parse


def device(word: str) -> str:
    """Parses a torch device."""
    kind, _, index = word.partition(":")
    if kind not in ("cpu", "cuda", "mps", "xpu") or (index and whole_number(index) is None):
        raise unknown_value("--device", word, ("cpu", "cuda", "cuda:0", "mps", "xpu"))
    return word


def count(name: str) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1."""

    def parse(word: str) -> int:
        number = whole_number(word)
        if number is None or not 1 <= number <= _MAX_COUNT:
            raise UsageError(
                f"--{name} {word} is no count", f"give a number from 1 to {_MAX_COUNT}"
            )
        return number

    return parse


def shard(word: str) -> Shard | str:
    """Parses which part of a list, as 1/4, or the word auto."""
    if word == AUTO_SHARD:
        return word
    index, _, number = word.partition("/")
    parse = count("shard")
    try:
        found = Shard(index=parse(index) - 1, count=parse(number))
    except UsageError:
        found = Shard(index=0, count=0)
    if found.index >= found.count:
        raise UsageError(
            f"--shard {word} is no part of a list", "write --shard 1/4 to --shard 4/4, or auto"
        )
    return found
