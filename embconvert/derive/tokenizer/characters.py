"""What a tokenizer does to each character before it splits words into tokens."""

from collections.abc import Iterator
from typing import Any

from embconvert.derive.tokenizer.nodes import Nodes, Value

_RANGES = ((1, 0xD800), (0xE000, 0x40000), (0xE0000, 0xF0000))
# Nobody assigned characters to planes 4 to 13, and planes 15 and 16 are private.
_PRIVATE = ("\U000f1234", "[\\x{f0000}-\\x{10ffff}]")
# Code points per call.
_AT_A_TIME = 256
# A word that no character becomes.
_BETWEEN = "zq"


def changed_characters(tokenizer: Any, space: str) -> dict[str, str]:
    """Returns the characters that a normalizer or a pre-tokenizer changes, and what they become.

    They are determined between two letters: spaces around a character mean that it is a word of
    its own.

    Args:
        tokenizer: A tokenizers.Tokenizer whose normalizer works character by character.
        space: What the pre-tokenizer puts before a word; "" if it removes spaces.
    """
    found = {}
    for chunk in _chunks():
        words = [*(f"x{character}x" for character in chunk), ""]
        text = _words(tokenizer, f" {_BETWEEN} ".join(words), space)
        for character, word in zip(chunk, text.split(f" {_BETWEEN}"), strict=False):
            changed = word.removeprefix(" ").removeprefix("x").removesuffix("x")
            if changed != character:
                found[character] = changed
    return found


def without_private(nodes: Nodes, texts: Value, changed: dict[str, str]) -> Value:
    """Replaces private characters, which are too many for a map, and removes them from the map."""
    text = changed.pop(_PRIVATE[0], None)
    if text is None:
        return texts
    pattern = nodes.text(_PRIVATE[1])
    return nodes.extension("StringRegexReplace", texts, pattern, nodes.text(text))


def _chunks() -> Iterator[list[str]]:
    for start, end in _RANGES:
        for first in range(start, end, _AT_A_TIME):
            yield [chr(code) for code in range(first, min(first + _AT_A_TIME, end))]
    yield [_PRIVATE[0]]


def _words(tokenizer: Any, text: str, space: str) -> str:
    """Returns a text as words with single spaces between them."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    pieces = [text]
    if tokenizer.pre_tokenizer is not None:
        pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    return "".join(pieces).replace(space, " ") if space else " ".join(pieces)
