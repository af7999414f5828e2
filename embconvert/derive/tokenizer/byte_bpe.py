"""BPE of bytes by onnxruntime-extensions, as RoBERTa and GPT-2 have it.

Its GPT2Tokenizer takes other characters than the tokenizers library for letters and white space,
and loses characters that look like the beginning of an added token. So regular expressions mark the
ends of words, with the classes of characters of tokenizers. One GPT2Tokenizer, without merges,
splits the marked texts into bytes, which are written as one text of letters that it cannot mistake;
a second one merges those.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from embconvert.derive.tokenizer.graphemes import char_class
from embconvert.derive.tokenizer.nodes import EXTENSIONS, Nodes, Value
from embconvert.derive.tokenizer.rows import Ragged, ragged
from embconvert.derive.tokenizer.unigram import flat, quoted

# Private characters: before one of them that is in a text, between words, at the end of a text, and
# the first of those for added tokens.
_LITERAL, _GAP, _END, _FIRST_ADDED = "\U00100000", "\U00100001", "\U00100002", 0x100003
# Chinese letters: the first of 256 for bytes, and the one for _LITERAL.
_FIRST_LETTER, _LITERAL_LETTER = 0x4E00, "\u4f00"
#: Each takes operators of its own.
_MOST_ADDED = 1000
# Settings with which BPE gives other tokens, where they are set.
_OTHER_MODEL = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")


def bpe_problem(parts: Mapping[str, Any]) -> str:
    """Returns what a tokenizer.json of BPE has that graphs cannot have; "" for nothing."""
    normalizers = [str(step.get("type")) for step in flat(parts.get("normalizer"))]
    if normalizers:
        return f"the normalizer {' and '.join(normalizers)}"
    splits = flat(parts.get("pre_tokenizer"))
    kinds = [str(step.get("type")) for step in splits]
    if kinds != ["ByteLevel"] or splits[0].get("use_regex") is False:
        return f"other rules for words ({', '.join(kinds) or 'none'})"
    model = parts["model"]
    other = [name for name in _OTHER_MODEL if model.get(name)]
    if other:
        return f"the setting {other[0]}"
    if len(_added(parts)) > _MOST_ADDED:
        return f"more than {_MOST_ADDED} added tokens"
    if model.get("unk_token") is not None and not model["vocab"].keys() >= set(_alphabet()):
        return "bytes that become the unknown token"
    return ""


def _added(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the added tokens by their text; tokenizers finds empty ones nowhere."""
    tokens = parts.get("added_tokens") or ()
    return {token["content"]: token for token in tokens if token["content"]}


def add_byte_bpe(nodes: Nodes, texts: Value, tokenizer: Any, parts: Mapping[str, Any]) -> Ragged:
    """Splits texts, (batch,) strings, into tokens; `parts` is the file, without a bpe_problem."""
    del tokenizer
    added = _added(parts)
    signs = {content: chr(_FIRST_ADDED + number) for number, content in enumerate(added)}
    # As they are in a text after _LITERAL.
    marks = {
        mark: chr(_FIRST_LETTER + number)
        for number, mark in enumerate((_LITERAL, _GAP, _END, *signs.values()))
    }
    for pattern, text in [
        *((quoted(mark), _LITERAL + sign) for mark, sign in marks.items()),
        *_word_ends(added, signs, adds_space=_adds_space(parts)),
    ]:
        texts = nodes.extension("StringRegexReplace", texts, nodes.text(pattern), nodes.text(text))
    letters = _as_letters(nodes, texts, list(marks))
    for mark, sign in marks.items():
        letters = nodes.extension(
            "StringRegexReplace", letters, nodes.text(_LITERAL_LETTER + _letters(sign)),
            nodes.text(_letters(mark)),
        )  # fmt: skip
    return _merged(
        nodes, letters, parts["model"], {sign: added[c]["id"] for c, sign in signs.items()}
    )


def _adds_space(parts: Mapping[str, Any]) -> bool:
    return bool(flat(parts["pre_tokenizer"])[0].get("add_prefix_space", True))


def _word_ends(
    added: Mapping[str, Mapping[str, Any]], signs: Mapping[str, str], *, adds_space: bool
) -> Iterator[tuple[str, str]]:
    """Yields replacements that put signs for added tokens, and _GAP after words.

    Source: tokenizers::pre_tokenizers::byte_level (0.23).
    """
    letter, number, white = map(_class, (r"\p{L}", r"\p{N}", r"\s"))
    others = [_GAP, _END, *signs.values()]
    own = char_class(others)[1:-1]
    for content in sorted(added, key=len, reverse=True):
        before, after = (f"{white}*" if added[content].get(s) else "" for s in ("lstrip", "rstrip"))
        yield f"{before}{quoted(content)}{after}", signs[content]
    if adds_space:
        start = f"\\A|{char_class(signs.values())}" if signs else "\\A"
        yield f"({start})([^ {own}])", r"\1 \2"
    inside = white[1:-1]
    # The last white space before a word belongs to that word.
    yield f"({white})({white}[^{inside}{own}])", rf"\1{_GAP}\2"
    rest = f"[^{inside}{letter[1:-1]}{number[1:-1]}{own}\\x{{{ord(_LITERAL):x}}}]"
    rest = f"(?:{rest}|\\x{{{ord(_LITERAL):x}}}.)"
    words = f"'s|'t|'re|'ve|'m|'ll|'d| ?{letter}+| ?{number}+| ?{rest}+|{white}+"
    yield f"({words})", rf"\1{_GAP}"
    yield r"\z", _END


def _class(pattern: str) -> str:
    """Returns the characters that a pattern of tokenizers matches, as a class of RE2."""
    from tokenizers import Regex, pre_tokenizers

    text = "".join(chr(code) for code in (*range(1, 0xD800), *range(0xE000, 0x110000)))
    found: list[str] = []
    end = 0
    others = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
    for _, (first, last) in [*others, ("", (len(text), len(text)))]:
        found += text[end:first]
        end = last
    return char_class(found)


def _letters(text: str) -> str:
    """Returns a letter for each byte."""
    return "".join(chr(_FIRST_LETTER + byte) for byte in text.encode())


def _as_letters(nodes: Nodes, texts: Value, marks: list[str]) -> Value:
    """Joins texts to one, (1,) strings, with letters for bytes; marks stay, but for _LITERAL."""
    alphabet = _alphabet()
    ids, mask = nodes.several(
        "GPT2Tokenizer", texts, outputs=2, domain=EXTENSIONS,
        vocab=json.dumps({character: byte for byte, character in enumerate(alphabet)}),
        # It must have one. No text has these two bytes in a row.
        merges=f"{alphabet[255]} {alphabet[254]}",
        added_token="\n".join(f"{mark}={256 + number}" for number, mark in enumerate(marks)),
        padding_length=-1,
    )  # fmt: skip
    column = nodes.numbers([-1])
    seen = nodes.add("Cast", nodes.add("Reshape", mask, column), to=9)
    flat_ids = nodes.add("Compress", nodes.add("Reshape", ids, column), seen, axis=0)
    written = [chr(_FIRST_LETTER + byte) for byte in range(256)]
    written += [_LITERAL_LETTER if mark == _LITERAL else mark for mark in marks]
    characters = nodes.add("Gather", nodes.texts(written), flat_ids)
    joined = nodes.extension("StringJoin", characters, nodes.text(""), nodes.numbers([0]))
    return nodes.add("Reshape", joined, column)


def _merged(
    nodes: Nodes, letters: Value, model: Mapping[str, Any], added: Mapping[str, int]
) -> Ragged:
    """Merges letters to tokens; `added` has the ids of signs."""
    alphabet = _alphabet()
    bytes_of = {character: byte for byte, character in enumerate(alphabet)}

    def spelled(token: str) -> str:
        """As GPT2Tokenizer spells the letters of a token's bytes."""
        text = "".join(chr(_FIRST_LETTER + bytes_of[character]) for character in token)
        return "".join(alphabet[byte] for byte in text.encode())

    tokens = {spelled(t): n for t, n in model["vocab"].items() if bytes_of.keys() >= set(t)}
    merges = list(dict.fromkeys(_letter_merges(alphabet)))
    for pair in model["merges"]:
        first, second = pair.split(" ") if isinstance(pair, str) else pair
        # No text has other characters after it is split into bytes.
        if bytes_of.keys() >= set(first + second):
            merges.append((spelled(first), spelled(second)))
    # All parts need ids, without gaps: the operator writes beyond its memory otherwise (0.15.2). It
    # adds an unknown token itself.
    parts = list(dict.fromkeys([*tokens, *alphabet, *map("".join, merges)]))
    marks = {sign: len(parts) + 1 + number for number, sign in enumerate((*added, _GAP, _END))}
    ids = nodes.several(
        "GPT2Tokenizer", letters, outputs=2, domain=EXTENSIONS,
        vocab=json.dumps({part: number for number, part in enumerate(parts)}),
        merges="\n".join(map(" ".join, merges)),
        added_token="\n".join(f"{sign}={number}" for sign, number in marks.items()),
        padding_length=-1,
    )[0]  # fmt: skip
    ids = nodes.add("Reshape", ids, nodes.numbers([-1]))
    is_end = nodes.add("Equal", ids, nodes.number(marks[_END]))
    none = -1
    own = [*(tokens.get(part, none) for part in parts), none, *added.values(), none, none]
    ids = nodes.add("Gather", nodes.numbers(own), ids)
    kept = nodes.add("GreaterOrEqual", ids, nodes.number(0))
    return ragged(nodes, ids, kept, is_end)


def _letter_merges(alphabet: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the merges of the three bytes of each letter."""
    letters = [[alphabet[byte] for byte in chr(_FIRST_LETTER + n).encode()] for n in range(256)]
    for first, second, _ in letters:
        yield first, second
    for first, second, third in letters:
        yield first + second, third


def _alphabet() -> list[str]:
    """Returns the character that stands for each byte in vocabularies.

    Source: bytes_to_unicode of GPT-2's encoder.py.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (code for code in range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
