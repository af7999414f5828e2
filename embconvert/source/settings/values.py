"""What the value of a setting may be: types that pydantic checks, strictly.

None of them can hold a path, an address, the name of a repository or of something to import.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

_MAX_TEXT = 100_000

Flag = bool
Number = int | float
Count = Annotated[int, Field(ge=0, le=1 << 53)]
#: How often something is built or done, where a list is made of it first.
Times = Annotated[int, Field(ge=0, le=10_000)]
#: A length in tokens that texts may be filled up to; no embedding model reads longer ones.
PaddedLength = Annotated[int, Field(ge=0, le=1 << 17)]
#: Text that is tokenized or compared, never looked up.
Text = Annotated[str, StringConstraints(max_length=_MAX_TEXT)]


# With | as deberta's p2c|c2p has it.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+|-]{0,99}")
# transformers would take any of its classes and functions.
_TOKENIZER = re.compile(r"[A-Za-z0-9]{1,60}(Tokenizer(Fast)?|Backend)")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    raise ValueError("it should be a number or a flag")


def _words(value: Any) -> Any:
    if isinstance(value, str):
        if not _WORD.fullmatch(value):
            raise ValueError(f"{value[:100]!r} is not one bare word")
        return value
    if isinstance(value, list):
        return [_words(item) for item in value]
    if isinstance(value, dict):
        return {key: _words(item) for key, item in value.items()}
    return _plain(value)


def _tokenizer_class(value: str) -> str:
    if not _TOKENIZER.fullmatch(value):
        raise ValueError(f"{value[:100]!r} is not the name of a tokenizer's class")
    return value


#: The name of a class of transformers' that is a tokenizer, as BertTokenizerFast.
TokenizerClass = Annotated[str, AfterValidator(_tokenizer_class)]
#: A bare word, as gelu_new or full_attention: no slash, dot or colon.
Word = Annotated[str, AfterValidator(_words)]
#: Numbers, flags and nulls, however they are nested: they name nothing.
Plain = Annotated[Any, AfterValidator(_plain)]
#: The same with bare words.
Words = Annotated[Any, AfterValidator(_words)]


class WrongValueError(ValueError):
    """A value that is not of a setting's type.

    Attributes:
        place: Where in the value, as `.text.method`; empty for the value itself.
        reason: In words.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


def _is_type_name(part: object) -> bool:
    """Whether a part of pydantic's place is the alternative of a union, not a key."""
    return isinstance(part, str) and (
        part in ("bool", "int", "float", "str", "constrained-str", "constrained-int")
        or re.match(r"[a-z-]+\[", part) is not None
    )


def checked(value: Any, kind: Any) -> Any:
    """Returns a value of a setting, if it is of the setting's type.

    Args:
        value: As JSON gave it.
        kind: A type of this module, or one made of them.

    Raises:
        WrongValueError: It is not.
    """
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        # Of a union, the last alternative is the widest one.
        first = error.errors(include_url=False, include_context=False, include_input=False)[-1]
        place = "".join(f".{part}" for part in first["loc"] if not _is_type_name(part))
        raise WrongValueError(place, first["msg"].removeprefix("Value error, ")) from error
