"""The types of settings' values, which pydantic checks strictly.

None of them allows a path, a URL, a repository or an import path.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

_MAX_TEXT = 100_000

Flag = bool
Number = int | float
Count = Annotated[int, Field(ge=0, le=1 << 53)]
#: A size; of none, nothing would be left.
PositiveCount = Annotated[int, Field(ge=1, le=1 << 53)]
#: A number of repetitions, for which the libraries create a list.
Repetitions = Annotated[int, Field(ge=0, le=10_000)]
#: A length in tokens to which texts may be padded; no embedding model reads longer texts.
PaddedLength = Annotated[int, Field(ge=0, le=1 << 17)]
#: Text that is tokenized or compared, but never looked up.
Text = Annotated[str, StringConstraints(max_length=_MAX_TEXT)]


# With | for deberta's p2c|c2p.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+|-]{0,99}")
# transformers would accept any of its classes and functions.
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
        # transformers writes an empty model_type for parts without one, such as mpt's attn_config.
        if value and not _WORD.fullmatch(value):
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


#: The name of a tokenizer class of transformers, such as BertTokenizerFast.
TokenizerClass = Annotated[str, AfterValidator(_tokenizer_class)]
#: A bare word, such as gelu_new or full_attention: no slash, dot or colon.
Word = Annotated[str, AfterValidator(_words)]
#: Numbers, flags and nulls, nested at any depth.
PlainValue = Annotated[Any, AfterValidator(_plain)]
#: The same, with bare words.
Words = Annotated[Any, AfterValidator(_words)]


class WrongValueError(ValueError):
    """A value that does not have the type of its setting.

    Attributes:
        place: Path inside the value, as `.text.method`; "" for the value itself.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


def _is_type_name(part: object) -> bool:
    """Whether a part of pydantic's location is a member of a union instead of a key."""
    return isinstance(part, str) and (
        part in ("bool", "int", "float", "str", "constrained-str", "constrained-int")
        or re.match(r"[a-z-]+\[", part) is not None
    )


def checked(value: Any, kind: Any) -> Any:
    """Returns a value if it has the setting's type; raises WrongValueError."""
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        # The last member of a union is the most general one.
        first = error.errors(include_url=False, include_context=False, include_input=False)[-1]
        place = "".join(f".{part}" for part in first["loc"] if not _is_type_name(part))
        raise WrongValueError(place, first["msg"].removeprefix("Value error, ")) from error
