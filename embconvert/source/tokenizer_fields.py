"""Reads fields of an untrusted tokenizer.json; errors name the field."""

from collections.abc import Mapping, Sequence
from typing import Any

from embconvert.errors import SourceError


def refused(where: str, what: str) -> SourceError:
    return SourceError(
        f"tokenizer.json: {where} {what}",
        "do not use this model; or, if you trust it, fix it in a copy and save the tokenizer again",
    )


def as_object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise refused(where, "should be an object")
    return value


def as_list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise refused(where, "should be a list")
    return value


def as_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise refused(where, "should be text")
    return value


def as_count(value: Any, where: str, most: int) -> int:
    # In Python, bool is a subclass of int.
    if type(value) is not int or value < 0:
        raise refused(where, f"should be a number, not {str(value)[:50]!r}")
    if value > most:
        raise refused(where, f"is {value}; the limit is {most}")
    return value
