"""Constraints of the manifest's fields, as annotations.

Nothing is checked, and no library is loaded, until a manifest is read or written
(`embconvert.manifest`). Bounds are far above what any model needs; a larger value is an attack or
an accident.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, MaxLen, MinLen


class Record:
    """A part of the manifest: no unknown fields, no infinite numbers."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Matches:
    """Text that matches a pattern.

    Attributes:
        pattern: A regular expression that JSON Schema and Rust support.
        words: A description for people.
    """

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        FORMS[self.pattern] = self.words
        return {**handler(source), "pattern": self.pattern}


#: The description of each pattern in use.
FORMS: dict[str, str] = {}


@dataclass(frozen=True)
class MayDiffer:
    """Marks a field that may differ between two runs that make the same bytes."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(core), "$comment": "may differ between equal runs"}


@dataclass(frozen=True)
class OneOf:
    """One of several records; the given field tells which."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic import Field

        return handler(Annotated[source, Field(discriminator=self.field)])


_LARGEST = 2**53
_MAX_NAME = 1000
_MAX_TEXT = 1 << 16
# A part of a path: not empty, not `.` or `..`, no characters that Windows or terminals interpret.
_PART = r"(\.{0,2}[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*|\.{3,}[^/\\\x00-\x1f\x7f]*)"

_RELATIVE_PATH = f"^{_PART}(/{_PART})*$"

Sha256 = Annotated[str, Matches("^[0-9a-f]{64}$", "64 hexadecimal digits")]
Commit = Annotated[str, Matches("^[0-9a-f]{40}$", "40 hexadecimal digits")]
RelativePath = Annotated[
    str,
    MinLen(1),
    MaxLen(_MAX_NAME),
    Matches(_RELATIVE_PATH, "a path inside the folder, with forward slashes"),
]
#: One line.
Name = Annotated[
    str, MaxLen(_MAX_NAME), Matches(r"^[^\x00-\x1f\x7f-\x9f]*$", "one line without control codes")
]
#: Such as `sentence-transformers` or `torch.nn.Identity`.
Identifier = Annotated[
    str, MaxLen(200), Matches(r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", "letters, digits, and . _ + -")
]
Text = Annotated[str, MaxLen(_MAX_TEXT)]
Count = Annotated[int, Ge(0), Le(_LARGEST)]
Positive = Annotated[int, Ge(1), Le(_LARGEST)]
ByteCount = Annotated[int, Ge(0), Le(_LARGEST)]
GraphSize = Annotated[int, Ge(1), Le(_LARGEST)]
#: With a margin for rounding.
Cosine = Annotated[float, Ge(-1.0001), Le(1.0001)]
Share = Annotated[float, Ge(0), Le(1)]
#: Of a vector.
Component = Annotated[float, Ge(-1e300), Le(1e300)]
#: A difference of two figures between -1 and 1, in hundredths.
Points = Annotated[float, Ge(-200), Le(200)]
Distance = Annotated[float, Ge(0), Le(1e300)]
Seconds = Annotated[float, Ge(0), Le(1e9)]
Rate = Annotated[float, Gt(0), Le(1e12)]
Release = Annotated[str, Matches(r"^1\.[0-9]{1,4}$", "a release of ONNX Runtime, such as 1.23")]


def is_relative_path(text: str) -> bool:
    """Whether a text can be a RelativePath; a name of a file that is not UTF-8 cannot."""
    has_surrogates = any("\ud800" <= character <= "\udfff" for character in text)
    fits = len(text) <= _MAX_NAME and re.fullmatch(_RELATIVE_PATH, text) is not None
    return fits and not has_surrogates
