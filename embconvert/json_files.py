"""Reading the JSON files of a model, with bounds.

What two readers would understand differently is refused: the published file goes to programs whose
JSON reader is another one than Python's.
"""

import json
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.foreign_text import json_text
from embconvert.user_files import UnreadableFileError, read_regular

#: No model needs more.
MAX_JSON_BYTES = 1 << 24
_MAX_DEPTH = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json(path: Path, most_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: The file.
        most_bytes: Bound of its size.

    Raises:
        SourceError: The file is missing, no JSON object, or absurdly large.
    """
    value = read_any_json(path, most_bytes)
    if not isinstance(value, dict):
        raise SourceError(f"{path.name} is no JSON object", "download the model again")
    return value


def read_any_json(path: Path, most_bytes: int = MAX_JSON_BYTES) -> Any:
    """Reads any JSON value; raises as read_json.

    A key that stands twice with two values, NaN, half of a surrogate pair and a byte order mark are
    errors: other readers refuse them, or take another value.
    """
    try:
        content = read_regular(path, most_bytes)
    except UnreadableFileError as error:
        raise SourceError(f"{path.name} {error}", "check it; no model needs that") from error
    return parse_json(content, path.name)


def parse_json(content: bytes, name: str) -> Any:
    """Parses the content of a JSON file; see read_any_json.

    Args:
        content: The file's bytes.
        name: The file's name, for the message.

    Raises:
        SourceError: It is no JSON, or JSON that readers disagree on.
    """
    if content.startswith(_BYTE_ORDER_MARK):
        raise SourceError(
            f"{name} starts with a byte order mark, which JSON does not allow",
            "save it as UTF-8 without a byte order mark",
        )
    try:
        text = content.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_without_contradiction, parse_constant=_constant)
        _refuse_depth(value)
        if "\\u" in text:
            _refuse_surrogates(value)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{name} is no JSON: {error}", "download the model again") from error
    return value


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: dict[str, Any] = {}
        for key, item in pairs:
            if key in seen and seen[key] != item:
                raise ValueError(f"the key {key[:100]!r} stands twice, with two values")
            seen[key] = item
    return value


def _constant(name: str) -> float:
    # Infinity is in configurations that transformers itself wrote, as time_step_limit of mamba2.
    if name == "NaN":
        raise ValueError("it holds NaN")
    return float(name)


def _refuse_depth(value: Any) -> None:
    """Refuses what is nested so deeply that whoever walks through it runs out of stack."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += (i for i in item.values() if isinstance(i, dict | list))
            elif isinstance(item, list):
                inner += (i for i in item if isinstance(i, dict | list))
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def _refuse_surrogates(value: Any) -> None:
    """Refuses text that no UTF-8 file can hold: half of a surrogate pair."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode("utf-8")
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)


def unreadable(path: Path, error: OSError) -> SourceError:
    """Returns the error for a file that cannot be opened."""
    return SourceError(
        f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
    )


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, indented, in UTF-8."""
    path.write_text(json_text(value) + "\n", encoding="utf-8")
