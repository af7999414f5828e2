"""Reads the JSON files of a model, with bounds.

JSON that parsers read differently is refused: programs with other parsers than Python's read the
published file.
"""

import json
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.foreign_text import json_text
from embconvert.user_files import UnreadableFileError, read_regular

#: No model's file is larger.
MAX_JSON_BYTES = 1 << 24
_MAX_DEPTH = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(path: Path, most_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        most_bytes: Maximum size.

    Raises:
        SourceError: The file is missing, not a JSON object, or too large.
    """
    value = read_any_json(path, most_bytes)
    if not isinstance(value, dict):
        raise SourceError(f"{path.name} is not a JSON object", "download the model again")
    return value


def read_any_json(path: Path, most_bytes: int = MAX_JSON_BYTES) -> Any:
    """Reads any JSON value; raises as read_json.

    A repeated key with another value, NaN, half of a surrogate pair and a byte order mark are
    errors: other parsers refuse them, or return another value.
    """
    try:
        content = read_regular(path, most_bytes)
    except UnreadableFileError as error:
        raise SourceError(
            f"{path.name} {error}", "check the file, or download the model again"
        ) from error
    return parse_json(content, path.name)


def parse_json(content: bytes, name: str) -> Any:
    """Parses the content of a JSON file; see read_any_json.

    Args:
        name: File name for the message.

    Raises:
        SourceError: It is not JSON, or JSON on which parsers disagree.
    """
    refuse_lfs_pointer(content, name)
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
        raise SourceError(f"{name} is not JSON: {error}", "download the model again") from error
    return value


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: dict[str, Any] = {}
        for key, item in pairs:
            if key in seen and not _is_same(seen[key], item):
                raise ValueError(f"the key {key[:100]!r} occurs twice, with different values")
            seen[key] = item
    return value


def _is_same(first: Any, second: Any) -> bool:
    """Whether two values are the same, with their types: for Python, 1 equals 1.0 and true."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def _constant(name: str) -> float:
    # Infinity is allowed: transformers writes it, for example in mamba2's time_step_limit.
    if name == "NaN":
        raise ValueError("it contains NaN")
    return float(name)


def _refuse_depth(value: Any) -> None:
    """Refuses values nested so deeply that a recursive reader would overflow the stack."""
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
    raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")


def _refuse_surrogates(value: Any) -> None:
    """Refuses text that UTF-8 cannot encode: half of a surrogate pair."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode("utf-8")
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)


def refuse_lfs_pointer(content: bytes, name: str) -> None:
    """Raises SourceError for a pointer of Git LFS; of a file, the first bytes are enough."""
    if content.startswith(_LFS_POINTER):
        raise SourceError(
            f"{name} is a pointer of Git LFS; the file itself is missing",
            "run `git lfs pull` in the model's folder, or download it by its hub id",
        )


def unreadable(path: Path, error: OSError) -> SourceError:
    """Returns the error for a file that cannot be opened."""
    return SourceError(
        f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
    )


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, indented, in UTF-8."""
    path.write_text(json_text(value) + "\n", encoding="utf-8")
