"""SentencePiece's map of characters as the tokenizers library applies it.

SentencePiece replaces the longest key at each place. tokenizers goes from one grapheme (a letter
with its combining marks) to the next: if it has fewer than 6 bytes, the shortest key at its start
replaces all of it; otherwise its characters are replaced one by one. Source:
tokenizers::normalizers::precompiled and spm_precompiled::Precompiled::transform (0.23).
"""

import base64
import struct
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

# Shorter graphemes are replaced as a whole.
_BYTES = 6
_MARK = "\u0301"


class Replacement(NamedTuple):
    """A replacement by StringRegexReplace, in RE2's syntax."""

    pattern: str
    text: str


def keys_of(charsmap: str) -> list[str]:
    """Returns the keys of a precompiled map, in base64, that have more than one character."""
    content = base64.b64decode(charsmap)
    size = struct.unpack_from("<I", content)[0] // 4
    units = struct.unpack_from(f"<{size}I", content, 4)

    def offset(unit: int) -> int:
        return (unit >> 10) << ((unit & (1 << 9)) >> 6)

    found = []
    waiting = [(offset(units[0]), b"")]
    while waiting:
        base, key = waiting.pop()
        for byte in range(1, 256):
            place = base ^ byte
            if place < size and units[place] & 0x800000FF == byte and len(key) < _BYTES:
                longer = key + bytes([byte])
                if units[place] & 1 << 8:
                    found.append(longer)
                waiting.append((place ^ offset(units[place]), longer))
    texts = [key.decode(errors="ignore") for key in found if len(key) < _BYTES]
    return sorted(text for text in texts if len(text) > 1)


def grapheme_steps(
    normalize: Callable[[str], str], changed: dict[str, str], keys: Iterable[str], block: str
) -> tuple[str, list[Replacement]]:
    """Finds what to do before SentencePiece's map, and adds keys to that map.

    Args:
        normalize: Of the tokenizer.
        changed: The map, of single characters.
        keys: Further keys of the tokenizer's map.
        block: A character that stops keys, which the map removes.

    Returns:
        A class of characters without which a text needs none of it, and the replacements.
    """
    marks = {size: "".join(_marks(normalize, changed, size)) for size in (2, 3, 4)}
    by_mark: dict[str, str] = defaultdict(str)
    starts: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    for key in keys:
        if len(key) == 2 and key[0] not in changed and _size(key[0]) < 4 and key[1] in marks[2]:
            changed[key] = normalize(key)
            starts[_size(key[0])].add(key[0])
            if _size(key) == 3:
                by_mark[key[1]] += key[0]
    singles: dict[int, set[str]] = {2: set(), 3: set()}
    for character, text in changed.items():
        # Controls, such as a line's end, take no marks.
        is_one = len(character) == 1 and _size(character) in singles
        if is_one and normalize(character + _MARK) == text:
            singles[_size(character)].add(character)
    first = singles[3] & set(marks[3])
    for size, letters in singles.items():
        letters -= set(marks[size])
        starts[size] |= letters
    two, three, four = (char_class(marks[size]) for size in (2, 3, 4))
    mark = char_class("".join(marks.values()))
    # Marks that, after a letter of so many bytes, give a grapheme that is replaced one by one.
    long = [
        (1, f"{two}{two}{mark}|{two}{three}|{two}{four}|{three}{mark}|{four}{mark}"),
        (2, f"{two}{mark}|{three}{mark}|{four}"),
        (3, f"{two}{mark}|{three}|{four}"),
    ]
    starts[3] -= first
    steps = [
        Replacement(f"({char_class(starts[size])})({more})", rf"\1{block}\2")
        for size, more in long
        if starts[size]
    ]
    pairs = "|".join(
        f"{char_class(bases)}{char_class(sign)}" for sign, bases in sorted(by_mark.items())
    )
    if pairs:
        steps.append(Replacement(f"({pairs}){two}", r"\1"))
    if singles[2]:
        steps.append(Replacement(f"({char_class(singles[2])})(?:{two}|{three})", r"\1"))
    if singles[3]:
        steps.append(Replacement(f"({char_class(singles[3])}){two}", r"\1"))
    if first:
        # A mark that is replaced itself is only at the start of a text the first of a grapheme.
        no_mark = mark.replace("[", "[^", 1)
        steps.append(Replacement(f"(\\A{char_class(first)}){two}({no_mark}|\\z)", r"\1\2"))
    return char_class(marks[2] + marks[3]), steps


def _size(text: str) -> int:
    return len(text.encode())


def _marks(normalize: Callable[[str], str], changed: dict[str, str], size: int) -> Iterator[str]:
    """Yields characters of so many bytes that belong to the grapheme of a letter before them."""
    # Characters whose graphemes with a mark still have fewer than 6 bytes.
    letter = {2: "\uff21", 3: "\u00aa"}.get(size, "")
    first, end = {2: (0x80, 0x800), 3: (0x800, 0x10000), 4: (0x10000, 0xF0000)}[size]
    for code in range(first, end):
        if 0xD800 <= code < 0xE000:
            continue
        mark = chr(code)
        if letter in changed and letter:
            if normalize(letter + mark) == changed[letter] and changed.get(mark) != "":
                yield mark
        elif unicodedata.category(mark) in ("Mn", "Me", "Mc") or 0x1F3FB <= code < 0x1F400:
            yield mark


def char_class(characters: Iterable[str]) -> str:
    """Returns a class of characters in RE2's syntax."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, set(characters))):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(
        rf"\x{{{first:x}}}" + (rf"-\x{{{last:x}}}" if last > first else "")
        for first, last in ranges
    ) + "]"  # fmt: skip
