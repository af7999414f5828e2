"""Refuses normalizers of a tokenizer.json that expand text too much."""

import base64
import binascii
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from embconvert.source.tokenizer_fields import as_object, as_text, refused

# Limit of characters that one character may become; Unicode's maximum is 18 (NFKC of U+FDFA).
_MAX_GROWTH = 1000
_MAX_MAPPED_BYTES = 256
# Parts of a regular expression that match one character.
_ONE_LETTER = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwWnrt]|\\\W")


def check_growth(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Raises SourceError for normalizers that expand text too much, or are malformed.

    Args:
        steps: The normalizers in order, each after its place in the file.
    """
    for number, (where, step) in enumerate(steps):
        kind = step["type"]
        if kind == "Precompiled":
            _check_charsmap(step.get("precompiled_charsmap"), f"{where}.precompiled_charsmap")
        elif kind == "Prepend":
            text = as_text(step.get("prepend"), f"{where}.prepend")
            _check_grown(text, steps[number + 1 :], f"{where}.prepend")
        elif kind == "Replace":
            _pattern(step, where)
            text = as_text(step.get("content"), f"{where}.content")
            # Twice, for matches across two copies.
            _check_grown(text * 2, steps[number + 1 :], f"{where}.content")


def _check_grown(text: str, steps: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> None:
    """Checks the growth of a step's result by the steps after it."""
    longest = len(text)
    for place, step in steps:
        if step["type"] != "Replace" or longest > 2 * _MAX_GROWTH:
            continue
        content = as_text(step.get("content"), f"{place}.content")
        found = _pattern(step, place)
        if found is not None:
            times = text.count(found)
        else:
            # A regular expression may match every character, and some also match between
            # characters.
            times = len(text)
            content += " " if content and _may_be_empty(step["pattern"]["Regex"]) else ""
        if not times or (found is None and len(content) <= 1):
            continue
        longest = max(longest, times * len(content))
        if longest <= 2 * _MAX_GROWTH:
            text = content * times if found is None else text.replace(found, content)
            longest = max(longest, len(text))
    if longest > 2 * _MAX_GROWTH:
        raise refused(where, f"expands one character to more than {_MAX_GROWTH}")


def _may_be_empty(pattern: str) -> bool:
    """Whether a regular expression may match the empty string; True if in doubt."""
    plain = _ONE_LETTER.sub("x", pattern[:_MAX_GROWTH]).replace("[^", "[x")
    if len(pattern) > _MAX_GROWTH or any(sign in plain for sign in ("(?", "\\", "^", "$")):
        return True
    try:
        return re.fullmatch(plain, "") is not None
    except (re.error, RecursionError, OverflowError):
        return True


def _pattern(step: Mapping[str, Any], where: str) -> str | None:
    """Returns the text that a step replaces; None for a regular expression."""
    pattern = as_object(step.get("pattern"), f"{where}.pattern")
    if set(pattern) == {"String"}:
        return as_text(pattern["String"], f"{where}.pattern.String")
    if set(pattern) == {"Regex"}:
        as_text(pattern["Regex"], f"{where}.pattern.Regex")
        return None
    raise refused(f"{where}.pattern", "should be an object with `String` or `Regex`")


def _check_charsmap(value: Any, where: str) -> None:
    """Checks SentencePiece's map: size of a trie, trie, texts terminated by NUL."""
    try:
        content = base64.b64decode(as_text(value, where), validate=True)
    except binascii.Error as error:
        raise refused(where, f"is not base64: {error}") from error
    size = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
    if not 0 < size <= len(content) - 4 or size % 4:
        raise refused(where, f"has {len(content)} bytes, which does not match its size field")
    texts = content[4 + size :]
    if max(map(len, texts.split(b"\0"))) > _MAX_MAPPED_BYTES:
        raise refused(where, f"expands one character to more than {_MAX_MAPPED_BYTES} bytes")
