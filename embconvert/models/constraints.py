"""What a value of a record may be, said where the record is, for the manifest's reader.

Only annotations: nothing is checked, and no library is loaded, until a manifest is read or written
(`embconvert.manifest`). Bounds are far above what any model needs; what is beyond them is no
manifest but an attack or an accident.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, MaxLen, MinLen


class Record:
    """A part of the manifest: no unknown field, no number that is not finite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Matches:
    """Text of a form.

    Attributes:
        pattern: A regular expression that JSON Schema and Rust know.
        words: What the form is, for people.
    """

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Adds the pattern to the schema of the text; pydantic calls it."""
        FORMS[self.pattern] = self.words
        return {**handler(source), "pattern": self.pattern}


#: The words of each form that is in use, by its pattern.
FORMS: dict[str, str] = {}


@dataclass(frozen=True)
class MayDiffer:
    """What may differ between two runs that make the same bytes."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Any]) -> Any:
        """Says so in the JSON Schema; pydantic calls it."""
        return {**handler(core), "$comment": "may differ between equal runs"}


@dataclass(frozen=True)
class OneOf:
    """One of several records, told apart by a field."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Tells which field; pydantic calls it."""
        from pydantic import Field

        return handler(Annotated[source, Field(discriminator=self.field)])


_LARGEST = 2**53
_MAX_NAME = 1000
_MAX_TEXT = 1 << 16
# A part of a path that is neither empty nor `.` or `..`, without what Windows or a terminal minds.
_PART = r"(\.{0,2}[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*|\.{3,}[^/\\\x00-\x1f\x7f]*)"

Sha256 = Annotated[str, Matches("^[0-9a-f]{64}$", "64 hexadecimal digits")]
Commit = Annotated[str, Matches("^[0-9a-f]{40}$", "40 hexadecimal digits")]
RelativePath = Annotated[
    str,
    MinLen(1),
    MaxLen(_MAX_NAME),
    Matches(f"^{_PART}(/{_PART})*$", "a path inside of the folder, with forward slashes"),
]
#: One line, as a name is.
Name = Annotated[
    str, MaxLen(_MAX_NAME), Matches(r"^[^\x00-\x1f\x7f-\x9f]*$", "one line without control codes")
]
#: As Python or a shell takes it, as `sentence-transformers` or `torch.nn.Identity`.
Identifier = Annotated[
    str, MaxLen(200), Matches(r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", "letters, digits, and . _ + -")
]
Text = Annotated[str, MaxLen(_MAX_TEXT)]
Count = Annotated[int, Ge(0), Le(_LARGEST)]
Positive = Annotated[int, Ge(1), Le(_LARGEST)]
Size = Annotated[int, Ge(0), Le(_LARGEST)]
GraphSize = Annotated[int, Ge(1), Le(_LARGEST)]
#: With room for rounding.
Cosine = Annotated[float, Ge(-1.0001), Le(1.0001)]
Share = Annotated[float, Ge(0), Le(1)]
Distance = Annotated[float, Ge(0), Le(1e300)]
Seconds = Annotated[float, Ge(0), Le(1e9)]
Rate = Annotated[float, Gt(0), Le(1e12)]
Release = Annotated[str, Matches(r"^1\.[0-9]{1,4}$", "a release of ONNX Runtime, as 1.23")]
