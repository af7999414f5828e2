"""Parsers of values that several options have; an invalid value is a UsageError with a hint.

They are made by functions that take the option's name, for errors.
"""

import math
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.shapes import Shape
from embconvert.models.suggestions import unknown_value

#: Of texts, tokens and the parts of a list.
MAX_COUNT = 100_000
_MAX_DIGITS = 18
_LARGEST = 2**31 - 1
# Linux allows no more.
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4095
#: How many characters of a value errors show.
SHOWN = 60


def whole_number(word: str) -> int | None:
    """Returns the number, or None; int() alone would raise for 5,000 digits."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS
    return int(word) if is_number else None


def decimal(word: str) -> float:
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


def path(name: str) -> Callable[[str], Path]:
    """Returns a parser of paths; `~` is the home folder."""
    return lambda word: user_path(f"--{name}", text(name)(word))


def user_path(what: str, word: str) -> Path:
    """Returns the path; `~` is the home folder. Errors name `what`: the option or operand.

    Raises UsageError if it is too long, or starts with the home of an unknown user.
    """
    parts = os.fsencode(word).split(b"/")
    shown = word if len(word) <= SHOWN else f"{word[:SHOWN]}..."
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


def shapes(name: str) -> Callable[[str], tuple[Shape, ...]]:
    """Returns a parser of sizes of batches, such as 1x16,32x128: texts and the tokens of each."""

    def parse(word: str) -> tuple[Shape, ...]:
        found = []
        for part in word.split(","):
            texts, _, tokens = part.strip().lower().partition("x")
            numbers = whole_number(texts), whole_number(tokens)
            if not all(number is not None and 0 < number <= MAX_COUNT for number in numbers):
                raise UsageError(
                    f"--{name} must be numbers of texts and their tokens, not {word[:SHOWN]}",
                    f"write --{name} 1x16,32x128; each number is at most {MAX_COUNT:,}",
                )
            found.append(Shape(texts=numbers[0] or 0, tokens=numbers[1] or 0))
        return tuple(dict.fromkeys(found))

    return parse


def share(name: str, example: str) -> Callable[[str], float]:
    """Returns a parser of numbers between 0 and 1."""

    def parse(word: str) -> float:
        value = decimal(word)
        if not 0.0 <= value <= 1.0:
            raise UsageError(
                f"--{name} must be between 0 and 1, not {word}", f"for example, --{name} {example}"
            )
        return value

    return parse


def positive(name: str, most: int = _LARGEST, example: int = 256) -> Callable[[str], int]:
    """Returns a parser of whole numbers from 1 on."""

    def parse(word: str) -> int:
        number = whole_number(word)
        if number is None or not 1 <= number <= most:
            raise UsageError(
                f"--{name} must be a whole number from 1 to {most:,}, not {word}",
                f"for example, --{name} {example}",
            )
        return number

    return parse
