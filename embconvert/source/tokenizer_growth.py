"""Refuses the steps of a tokenizer.json that expand text too much."""

import base64
import binascii
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from embconvert.source.tokenizer_fields import as_object, as_text, refused

# Limit of characters that one character may become; Unicode's maximum is 18 (NFKC of U+FDFA).
_MAX_GROWTH = 1000
_MAX_MAPPED_BYTES = 256
# Parts of a regular expression that match one character.
_ONE_LETTER = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwWnrt]|\\\W")
# What the steps below expand most.
_LARGEST = ("\ufdfa", "\u0130", "\u4e2d", "\U0001d160", "\U0001f600")


def _bert(letter: str) -> str:
    bare = unicodedata.normalize("NFD", letter).lower()
    # Chinese letters get spaces around them.
    return bare if letter.isascii() else f" {bare} "


#: What steps without a text of their own make of a letter; of ByteLevel, as many letters.
_LETTER_BY_LETTER: Mapping[str, Callable[[str], str]] = {
    "BertNormalizer": _bert,
    "ByteLevel": lambda letter: letter.encode().decode("latin-1"),
    "Lowercase": str.lower,
    **{form: partial(unicodedata.normalize, form) for form in ("NFC", "NFD", "NFKC", "NFKD")},
}
# The same letter may become others, alone or with its neighbours.
_TO_ANY = ("ByteLevel", "NFC", "NFKC")


@dataclass(frozen=True, kw_only=True)
class _Grown:
    """What a character has become.

    Attributes:
        length: In characters, at most.
        letters: That may be in it; None if all may.
    """

    length: int
    letters: frozenset[str] | None

    def may_have(self, text: str) -> bool:
        return self.letters is None or self.letters.issuperset(text)

    def grown(self, length: int, more: str) -> "_Grown":
        """Returns what it becomes with more letters."""
        letters = None if self.letters is None else self.letters.union(more)
        return _Grown(length=max(self.length, length), letters=letters)

    def each(self, kind: str) -> "_Grown":
        """Returns what it becomes by a step of _LETTER_BY_LETTER."""
        became = [_LETTER_BY_LETTER[kind](letter) for letter in self.letters or _LARGEST]
        longest, all_letters = max(map(len, became)), "".join(became)
        if kind in _TO_ANY and not all_letters.isascii():
            return _Grown(length=self.length * longest, letters=None)
        return self.grown(self.length * longest, all_letters)


def check_growth(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Raises SourceError for steps that expand text too much, or are malformed.

    Args:
        steps: The normalizers and the pre-tokenizers in order, each after its place in the file.
    """
    for number, (where, step) in enumerate(steps):
        kind = step["type"]
        if kind in ("ByteLevel", "Metaspace", "Precompiled"):
            grown = _after(_Grown(length=1, letters=None), where, step)
        elif kind == "Prepend":
            text = as_text(step.get("prepend"), f"{where}.prepend")
            grown = _Grown(length=len(text), letters=frozenset(text))
        elif kind == "Replace":
            _pattern(step, where)
            text = as_text(step.get("content"), f"{where}.content")
            # Twice, for matches across two copies.
            grown = _Grown(length=2 * len(text), letters=frozenset(text))
        else:
            continue
        for place, following in steps[number + 1 :]:
            if grown.length > 2 * _MAX_GROWTH:
                break
            grown = _after(grown, place, following)
        if grown.length > 2 * _MAX_GROWTH:
            field = {"Prepend": ".prepend", "Replace": ".content"}.get(kind, "")
            raise refused(where + field, f"expands one character to more than {_MAX_GROWTH}")


def _after(grown: _Grown, where: str, step: Mapping[str, Any]) -> _Grown:
    """Returns what a step makes of a text."""
    kind, length = step["type"], grown.length
    if kind == "Replace":
        return _replaced(grown, where, step)
    if kind == "Precompiled":
        return _Grown(length=length * _longest(step, where), letters=None)
    if kind == "Prepend":
        text = as_text(step.get("prepend"), f"{where}.prepend")
        return grown.grown(length + len(text), text)
    # Metaspace and ByteLevel put a character before each piece of the text.
    if kind == "Metaspace":
        return grown.grown(2 * length, str(step.get("replacement")))
    if kind == "ByteLevel" and step.get("add_prefix_space"):
        grown = grown.grown(2 * length, " ")
    elif kind in ("BertNormalizer", "Nmt"):
        grown = grown.grown(length, " ")
    return grown.each(kind) if kind in _LETTER_BY_LETTER else grown


def _replaced(grown: _Grown, where: str, step: Mapping[str, Any]) -> _Grown:
    content = as_text(step.get("content"), f"{where}.content")
    found = _pattern(step, where)
    if not found:
        # A regular expression may match every character, and some also match between characters.
        between = bool(content) and (found == "" or _may_be_empty(step["pattern"]["Regex"]))
        return grown.grown(grown.length * (len(content) + between), content)
    if not grown.may_have(found):
        return grown
    times = grown.length // len(found)
    return grown.grown(grown.length + times * (len(content) - len(found)), content)


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


def _longest(step: Mapping[str, Any], where: str) -> int:
    """Returns how many bytes SentencePiece's map makes of a character, at most.

    It has the size of a trie, the trie, and texts terminated by NUL. Raises SourceError if it is
    malformed, or they are too many.
    """
    where = f"{where}.precompiled_charsmap"
    try:
        content = base64.b64decode(as_text(step.get("precompiled_charsmap"), where), validate=True)
    except binascii.Error as error:
        raise refused(where, f"is not base64: {error}") from error
    size = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
    if not 0 < size <= len(content) - 4 or size % 4:
        raise refused(where, f"has {len(content)} bytes, which does not match its size field")
    longest = max(map(len, content[4 + size :].split(b"\0")))
    if longest > _MAX_MAPPED_BYTES:
        raise refused(where, f"expands one character to more than {_MAX_MAPPED_BYTES} bytes")
    return max(1, longest)
