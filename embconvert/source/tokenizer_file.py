"""What a tokenizer.json may say, before a library is given it.

The tokenizers library believes its file: it panics or aborts on some, makes a letter gigabytes
long on others, and quietly gives tokens other ids than the file says. Programs that read the
published file trust it as much.
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
# Gemma's, one of the largest, is 33 MB.
_MAX_BYTES = 1 << 27
#: An id that no table of embeddings reaches; programs make lists that are as long as the largest.
MAX_TOKEN_ID = (1 << 24) - 1
# Padding that the file asks for, in tokens; the longest context of an embedding model is a quarter.
_MAX_LENGTH = 1 << 17
# Special tokens around a text.
_MAX_SPECIAL = 1024
# Letters that one letter becomes. Unicode's own longest (NFKC of U+FDFA) becomes 18.
_MAX_GROWTH = 1000
_MAX_MAPPED_BYTES = 256
_MAX_DEPTH = 8
# What in a regular expression stands for one letter.
_ONE_LETTER = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwWnrt]|\\\W")
# WordPiece looks for every part of a word: its time grows with the square. BERT has 100.
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
#: For each part of the file the types that it may have, and where a Sequence has its own.
_PARTS = {
    "normalizer": (_NORMALIZERS, "normalizers"),
    "pre_tokenizer": (_PRE_TOKENIZERS, "pretokenizers"),
    "post_processor": (_POST_PROCESSORS, "processors"),
    "decoder": (_DECODERS, "decoders"),
}


def check_tokenizer_file(path: Path, rows: int | None) -> None:
    """Checks a tokenizer.json.

    An id of the vocabulary may be beyond the model's table: some models have more tokens than rows,
    and are right as long as no text has one. Ids that come with every text may not. Whether a
    text's ids are in the table is looked at when texts are tokenized.

    Args:
        path: The file.
        rows: Of the model's table of embeddings; None when config.json does not tell.

    Raises:
        SourceError: It asks for what no program should do, or what it says of ids is not so.
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


def _refused(where: str, what: str) -> SourceError:
    return SourceError(
        f"{_FILE}: {where} {what}",
        "do not use this model; or if you trust it, correct that in a copy and save the tokenizer "
        "again",
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
    # A bool is an int to Python.
    if type(value) is not int or value < 0:
        raise _refused(where, f"should be a number, not {str(value)[:50]!r}")
    if value > most:
        raise _refused(where, f"is {value}, over {most}")
    return value


def _nodes(value: Any, where: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the steps of a part, those of sequences one by one, each with its place.

    Raises:
        SourceError: One is of a type that its part does not have.
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
    """Checks the model; returns the ids of its words."""
    vocabulary = model.get("vocab")
    # Files of before 2020 do not name it.
    kind = model.get("type", "Unigram" if isinstance(vocabulary, list) else "BPE")
    if kind not in _MODELS:
        names = ", ".join(_MODELS)
        raise _refused("model.type", f"is {str(kind)[:50]!r}, not one of {names}")
    if model.get("dropout") not in (None, 0):
        raise _refused(
            "model.dropout", "asks for random tokens, with which no conversion can be verified"
        )
    if "max_input_chars_per_word" in model:
        where = "model.max_input_chars_per_word"
        _count(model["max_input_chars_per_word"], where, _MAX_WORD)
    return _word_list(vocabulary) if kind == "Unigram" else _word_ids(vocabulary)


def _word_list(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of a Unigram model's words: their places."""
    words = _list(vocabulary, "model.vocab")
    for number, word in enumerate(words):
        if not (isinstance(word, list) and len(word) == 2 and isinstance(word[0], str)):
            raise _refused(f"model.vocab[{number}]", "should be a word and its score")
    return {word: number for number, (word, _) in enumerate(words)}


def _word_ids(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of other models' words."""
    ids: Mapping[str, int] = _object(vocabulary, "model.vocab")
    taken: set[int] = set()
    for word, number in ids.items():
        if type(number) is not int or not 0 <= number <= MAX_TOKEN_ID:
            _count(number, f"model.vocab.{word[:50]}", MAX_TOKEN_ID)
        taken.add(number)
    if len(taken) < len(ids):
        by_id: dict[int, str] = {}
        for word, number in ids.items():
            other = by_id.setdefault(number, word)
            if other != word:
                raise _refused(
                    f"model.vocab.{word[:50]}", f"is {number}, as {other[:50]!r} is already"
                )
    return ids


def _check_added_tokens(tokens: Any, vocabulary: Mapping[str, int]) -> None:
    """Refuses added tokens with other ids than tokenizers gives them.

    It gives a token that is no word the next number, and does not look at the file's. Programs that
    do would read other tokens. Source: AddedVocabulary::add_tokens (0.23).
    """
    given: dict[str, int] = {}
    for number, token in enumerate(_list(tokens, "added_tokens")):
        where = f"added_tokens[{number}]"
        content = _text(_object(token, where).get("content"), f"{where}.content")
        said = _count(token.get("id"), f"{where}.id", MAX_TOKEN_ID)
        if not content:  # is passed over
            continue
        got = given.get(content, vocabulary.get(content))
        if got is None:
            got = max(len(vocabulary), max(given.values(), default=-1) + 1)
        if got != said:
            raise _refused(
                f"{where}.id",
                f"says {said} of {content[:50]!r}, and tokenizers would give it {got}",
            )
        given[content] = got


def _check_growth(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuses normalizers that make much text of little."""
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
            # Twice, for what is found where two of them meet.
            _check_grown(text * 2, steps[number + 1 :], f"{where}.content")


def _check_grown(text: str, steps: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> None:
    """Follows what a step gives through those behind it."""
    longest = len(text)
    for place, step in steps:
        if step["type"] != "Replace" or longest > 2 * _MAX_GROWTH:
            continue
        content = _text(step.get("content"), f"{place}.content")
        found = _pattern(step, place)
        if found is not None:
            times = text.count(found)
        else:
            # A regular expression may find every letter, and some find what is between them, too.
            times = len(text)
            content += " " if content and _may_be_empty(step["pattern"]["Regex"]) else ""
        if not times or (found is None and len(content) <= 1):
            continue
        longest = max(longest, times * len(content))
        if longest <= 2 * _MAX_GROWTH:
            text = content * times if found is None else text.replace(found, content)
            longest = max(longest, len(text))
    if longest > 2 * _MAX_GROWTH:
        raise _refused(where, f"makes more than {_MAX_GROWTH} letters of one")


def _may_be_empty(pattern: str) -> bool:
    """Whether a regular expression may find a place where nothing is; yes if it is hard to tell."""
    plain = _ONE_LETTER.sub("x", pattern[:_MAX_GROWTH]).replace("[^", "[x")
    if len(pattern) > _MAX_GROWTH or any(sign in plain for sign in ("(?", "\\", "^", "$")):
        return True
    try:
        return re.fullmatch(plain, "") is not None
    except (re.error, RecursionError, OverflowError):
        return True


def _pattern(step: Mapping[str, Any], where: str) -> str | None:
    """Returns the text that a step looks for; None for a regular expression."""
    pattern = _object(step.get("pattern"), f"{where}.pattern")
    if set(pattern) == {"String"}:
        return _text(pattern["String"], f"{where}.pattern.String")
    if set(pattern) == {"Regex"}:
        _text(pattern["Regex"], f"{where}.pattern.Regex")
        return None
    raise _refused(f"{where}.pattern", "should be an object with `String` or `Regex`")


def _check_charsmap(value: Any, where: str) -> None:
    """Checks SentencePiece's map: the size of a trie, the trie, and texts that each end in NUL."""
    try:
        content = base64.b64decode(_text(value, where), validate=True)
    except binascii.Error as error:
        raise _refused(where, f"is no base64: {error}") from error
    size = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
    if not 0 < size <= len(content) - 4 or size % 4:
        raise _refused(where, f"has {len(content)} bytes, which don't fit the size that it says")
    texts = content[4 + size :]
    if max(map(len, texts.split(b"\0"))) > _MAX_MAPPED_BYTES:
        raise _refused(where, f"makes more than {_MAX_MAPPED_BYTES} bytes of a letter")


def _check_post_processor(where: str, node: Mapping[str, Any], rows: int | None) -> None:
    """Checks the ids that are put around each text."""
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
            raise _refused(place, f"is {name[:50]!r}, no text and no token of special_tokens")
    if special > _MAX_SPECIAL:
        raise _refused(where, f"puts {special} tokens around each text, over {_MAX_SPECIAL}")
    # tokenizers cuts a text to what fits beside the special tokens, and does not count this.
    if max(repeats.values()) > 1:
        raise _refused(where, f"repeats each text {max(repeats.values())} times")


def _check_padding(padding: Any) -> None:
    """Refuses padding that takes all memory; what is within reason is the tokenizer's own."""
    if padding is None:
        return
    strategy = _object(padding, "padding").get("strategy")
    if isinstance(strategy, dict):
        _count(strategy.get("Fixed"), "padding.strategy.Fixed", _MAX_LENGTH)
    if padding.get("pad_to_multiple_of") is not None:
        _count(padding["pad_to_multiple_of"], "padding.pad_to_multiple_of", _MAX_LENGTH)
    _count(padding.get("pad_id"), "padding.pad_id", MAX_TOKEN_ID)
