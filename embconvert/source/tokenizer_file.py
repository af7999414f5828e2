"""Validates tokenizer.json before a library reads it.

The tokenizers library trusts its file: some files make it panic or abort, or expand a character to
gigabytes, or silently get other token ids than they declare. Consumers of the published file trust
it, too.
"""

import base64
import binascii
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.json_files import read_json

_FILE = "tokenizer.json"
# Gemma's file, one of the largest, has 33 MB.
_MAX_BYTES = 1 << 27
#: No embedding table has so many rows; programs create lists as long as the largest id.
MAX_TOKEN_ID = (1 << 24) - 1
# Limit of padding, in tokens; the longest context of an embedding model is a quarter of it.
_MAX_LENGTH = 1 << 17
# Limit of special tokens around a text.
_MAX_SPECIAL = 1024
# Limit of characters that one character may become; Unicode's maximum is 18 (NFKC of U+FDFA).
_MAX_GROWTH = 1000
_MAX_MAPPED_BYTES = 256
_MAX_DEPTH = 8
# Parts of a regular expression that match one character.
_ONE_LETTER = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwWnrt]|\\\W")
# WordPiece's time grows with the square of a word's length. BERT has 100.
_MAX_WORD = 10_000

_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_NORMALIZERS = (
    "BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled",
    "Prepend", "Replace", "Sequence", "Strip", "StripAccents",
)  # fmt: skip
_PRE_TOKENIZERS = (
    "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace",
    "Punctuation", "Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit",
)  # fmt: skip
_POST_PROCESSORS = (
    "BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing",
)  # fmt: skip
_DECODERS = (
    "BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace", "Sequence",
    "Strip", "WordPiece",
)  # fmt: skip
#: The types of each part of the file, and the field with the parts of a Sequence.
_PARTS = {
    "normalizer": (_NORMALIZERS, "normalizers"),
    "pre_tokenizer": (_PRE_TOKENIZERS, "pretokenizers"),
    "post_processor": (_POST_PROCESSORS, "processors"),
    "decoder": (_DECODERS, "decoders"),
}


def check_tokenizer_file(path: Path, rows: int | None) -> None:
    """Validates a tokenizer.json.

    Ids of the vocabulary may exceed the model's table, as some models have more tokens than rows;
    they are checked when texts are tokenized. Ids that are added to every text must be in the
    table, if its size is known. Raises SourceError if the file is malformed, asks for absurd work,
    or has wrong ids.
    """
    value = read_json(path, _MAX_BYTES)
    parts = {name: list(_nodes(value.get(name), name)) for name in _PARTS}
    vocabulary = _checked_model(_object(value.get("model"), "model"))
    if value.get("added_tokens") is not None:
        _check_added_tokens(value["added_tokens"], vocabulary)
    _check_growth(parts["normalizer"])
    for where, node in parts["post_processor"]:
        _check_post_processor(where, node, rows)
    _check_padding(value.get("padding"))


def algorithm_of(path: Path) -> Any:
    """Returns what a checked tokenizer.json names its algorithm; None if it has no name for it."""
    return read_json(path, _MAX_BYTES)["model"].get("type")


def _refused(where: str, what: str) -> SourceError:
    return SourceError(
        f"{_FILE}: {where} {what}",
        "do not use this model; or, if you trust it, fix it in a copy and save the tokenizer again",
    )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _refused(where, "should be an object")
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _refused(where, "should be a list")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _refused(where, "should be text")
    return value


def _count(value: Any, where: str, most: int) -> int:
    # In Python, bool is a subclass of int.
    if type(value) is not int or value < 0:
        raise _refused(where, f"should be a number, not {str(value)[:50]!r}")
    if value > most:
        raise _refused(where, f"is {value}; the limit is {most}")
    return value


def _nodes(value: Any, where: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the steps of a part with their paths, and those of sequences one by one.

    Raises SourceError for a step of an unknown type.
    """
    if value is None:
        return
    types, inner = _PARTS[where.partition(".")[0]]
    kind = _object(value, where).get("type")
    if kind not in types:
        raise _refused(f"{where}.type", f"is {str(kind)[:50]!r}, not one of {', '.join(types)}")
    if kind != "Sequence":
        yield where, value
        return
    if depth == _MAX_DEPTH:
        raise _refused(where, f"is nested more than {_MAX_DEPTH} times")
    for number, node in enumerate(_list(value.get(inner), f"{where}.{inner}")):
        yield from _nodes(_object(node, where), f"{where}.{inner}[{number}]", depth + 1)


def _checked_model(model: Mapping[str, Any]) -> Mapping[str, int]:
    """Validates the model; returns the ids of its words."""
    vocabulary = model.get("vocab")
    # Files from before 2020 do not have it.
    kind = model.get("type", "Unigram" if isinstance(vocabulary, list) else "BPE")
    if kind not in _MODELS:
        names = ", ".join(_MODELS)
        raise _refused("model.type", f"is {str(kind)[:50]!r}, not one of {names}")
    if model.get("dropout") not in (None, 0):
        raise _refused(
            "model.dropout", "makes tokens random, so that a conversion cannot be verified"
        )
    if "max_input_chars_per_word" in model:
        where = "model.max_input_chars_per_word"
        _count(model["max_input_chars_per_word"], where, _MAX_WORD)
    return _word_list(vocabulary) if kind == "Unigram" else _word_ids(vocabulary)


def _word_list(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of a Unigram model's words, which are their indices."""
    words = _list(vocabulary, "model.vocab")
    for number, word in enumerate(words):
        if not (isinstance(word, list) and len(word) == 2 and isinstance(word[0], str)):
            raise _refused(f"model.vocab[{number}]", "should be a word and its score")
    return {word: number for number, (word, _) in enumerate(words)}


def _word_ids(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of other models' words."""
    ids: Mapping[str, int] = _object(vocabulary, "model.vocab")
    by_id: dict[int, str] = {}
    for word, number in ids.items():
        if type(number) is not int or not 0 <= number <= MAX_TOKEN_ID:
            _count(number, f"model.vocab.{word[:50]}", MAX_TOKEN_ID)
        other = by_id.setdefault(number, word)
        if other != word:
            raise _refused(
                f"model.vocab.{word[:50]}",
                f"is {number}, which is already the id of {other[:50]!r}",
            )
    return ids


def _check_added_tokens(tokens: Any, vocabulary: Mapping[str, int]) -> None:
    """Refuses added tokens whose ids differ from those that tokenizers assigns.

    tokenizers assigns new tokens the next id and ignores that of the file, but other programs use
    it. Source: AddedVocabulary::add_tokens (0.23).
    """
    given: dict[str, int] = {}
    for number, token in enumerate(_list(tokens, "added_tokens")):
        where = f"added_tokens[{number}]"
        content = _text(_object(token, where).get("content"), f"{where}.content")
        said = _count(token.get("id"), f"{where}.id", MAX_TOKEN_ID)
        if not content:  # is skipped
            continue
        got = given.get(content, vocabulary.get(content))
        if got is None:
            got = max(len(vocabulary), max(given.values(), default=-1) + 1)
        if got != said:
            raise _refused(
                f"{where}.id", f"is {said} for {content[:50]!r}, but tokenizers assigns {got}"
            )
        given[content] = got


def _check_growth(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuses normalizers that expand text too much."""
    for number, (where, step) in enumerate(steps):
        kind = step["type"]
        if kind == "Precompiled":
            _check_charsmap(step.get("precompiled_charsmap"), f"{where}.precompiled_charsmap")
        elif kind == "Prepend":
            text = _text(step.get("prepend"), f"{where}.prepend")
            _check_grown(text, steps[number + 1 :], f"{where}.prepend")
        elif kind == "Replace":
            _pattern(step, where)
            text = _text(step.get("content"), f"{where}.content")
            # Twice, for matches across two copies.
            _check_grown(text * 2, steps[number + 1 :], f"{where}.content")


def _check_grown(text: str, steps: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> None:
    """Checks the growth of a step's result by the steps after it."""
    longest = len(text)
    for place, step in steps:
        if step["type"] != "Replace" or longest > 2 * _MAX_GROWTH:
            continue
        content = _text(step.get("content"), f"{place}.content")
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
        raise _refused(where, f"expands one character to more than {_MAX_GROWTH}")


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
    pattern = _object(step.get("pattern"), f"{where}.pattern")
    if set(pattern) == {"String"}:
        return _text(pattern["String"], f"{where}.pattern.String")
    if set(pattern) == {"Regex"}:
        _text(pattern["Regex"], f"{where}.pattern.Regex")
        return None
    raise _refused(f"{where}.pattern", "should be an object with `String` or `Regex`")


def _check_charsmap(value: Any, where: str) -> None:
    """Checks SentencePiece's map: size of a trie, trie, texts terminated by NUL."""
    try:
        content = base64.b64decode(_text(value, where), validate=True)
    except binascii.Error as error:
        raise _refused(where, f"is not base64: {error}") from error
    size = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
    if not 0 < size <= len(content) - 4 or size % 4:
        raise _refused(where, f"has {len(content)} bytes, which does not match its size field")
    texts = content[4 + size :]
    if max(map(len, texts.split(b"\0"))) > _MAX_MAPPED_BYTES:
        raise _refused(where, f"expands one character to more than {_MAX_MAPPED_BYTES} bytes")


def _check_post_processor(where: str, node: Mapping[str, Any], rows: int | None) -> None:
    """Checks the ids that are added to each text."""
    most = MAX_TOKEN_ID if rows is None else rows - 1
    if node["type"] in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            token = _list(node.get(name), f"{where}.{name}")
            if len(token) != 2:
                raise _refused(f"{where}.{name}", "should be a token and its id")
            _count(token[1], f"{where}.{name}", most)
    elif node["type"] == "TemplateProcessing":
        known: dict[str, int] = {}
        tokens = _object(node.get("special_tokens"), f"{where}.special_tokens")
        for name, token in tokens.items():
            place = f"{where}.special_tokens.{name[:50]}"
            ids = _list(_object(token, place).get("ids"), f"{place}.ids")
            for number in ids:
                _count(number, f"{place}.ids", most)
            known[name] = len(ids)
        for name in ("single", "pair"):
            _check_template(node.get(name), f"{where}.{name}", known)


def _check_template(value: Any, where: str, lengths: Mapping[str, int]) -> None:
    special, repeats = 0, {"A": 0, "B": 0}
    for number, piece in enumerate(_list(value, where)):
        place = f"{where}[{number}]"
        kind, *others = _object(piece, place) or [""]
        token = _object(piece.get(kind), place)
        name = _text(token.get("id"), f"{place}.id")
        _count(token.get("type_id"), f"{place}.type_id", MAX_TOKEN_ID)
        if kind == "Sequence" and name in repeats and not others:
            repeats[name] += 1
        elif kind == "SpecialToken" and name in lengths and not others:
            special += lengths[name]
        else:
            raise _refused(
                place, f"is {name[:50]!r}, which is neither a text nor a token of special_tokens"
            )
    if special > _MAX_SPECIAL:
        raise _refused(where, f"adds {special} tokens to each text; the limit is {_MAX_SPECIAL}")
    # Truncation by tokenizers accounts for special tokens, but not for repetitions.
    if max(repeats.values()) > 1:
        raise _refused(where, f"repeats each text {max(repeats.values())} times")


def _check_padding(padding: Any) -> None:
    """Refuses padding that needs absurd memory."""
    if padding is None:
        return
    strategy = _object(padding, "padding").get("strategy")
    if isinstance(strategy, dict):
        _count(strategy.get("Fixed"), "padding.strategy.Fixed", _MAX_LENGTH)
    if padding.get("pad_to_multiple_of") is not None:
        _count(padding["pad_to_multiple_of"], "padding.pad_to_multiple_of", _MAX_LENGTH)
    _count(padding.get("pad_id"), "padding.pad_id", MAX_TOKEN_ID)
