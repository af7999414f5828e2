"""Validates tokenizer.json before a library reads it.

The tokenizers library trusts its file: some files make it panic or abort, or expand a character to
gigabytes, or silently get other token ids than they declare. Consumers of the published file trust
it, too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from embconvert.json_files import read_json
from embconvert.source.tokenizer_fields import as_count, as_list, as_object, as_text, refused
from embconvert.source.tokenizer_growth import check_growth

# Gemma's file, one of the largest, has 33 MB.
_MAX_BYTES = 1 << 27
#: No embedding table has so many rows; programs create lists as long as the largest id.
MAX_TOKEN_ID = (1 << 24) - 1
# Limit of padding, in tokens; the longest context of an embedding model is a quarter of it.
_MAX_LENGTH = 1 << 17
# Limit of special tokens around a text.
_MAX_SPECIAL = 1024
_MAX_DEPTH = 8
# Limit of a part's steps; the longest list of normalizers has some dozens.
_MAX_STEPS = 256
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
    vocabulary = _checked_model(as_object(value.get("model"), "model"))
    if value.get("added_tokens") is not None:
        _check_added_tokens(value["added_tokens"], vocabulary)
    for name, steps in parts.items():
        if len(steps) > _MAX_STEPS:
            raise refused(name, f"has {len(steps)} steps; the limit is {_MAX_STEPS}")
    check_growth([*parts["normalizer"], *parts["pre_tokenizer"]])
    special = sum(_checked_special(*step, rows) for step in parts["post_processor"])
    if special > _MAX_SPECIAL:
        raise refused(
            "post_processor", f"adds {special} tokens to each text; the limit is {_MAX_SPECIAL}"
        )
    _check_padding(value.get("padding"))


def parts_of(path: Path) -> Mapping[str, Any]:
    """Returns the parts of a checked tokenizer.json."""
    parts: Mapping[str, Any] = read_json(path, _MAX_BYTES)
    return parts


def _nodes(value: Any, where: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the steps of a part with their paths, and those of sequences one by one.

    Raises SourceError for a step of an unknown type.
    """
    if value is None:
        return
    types, inner = _PARTS[where.partition(".")[0]]
    kind = as_object(value, where).get("type")
    if kind not in types:
        raise refused(f"{where}.type", f"is {str(kind)[:50]!r}, not one of {', '.join(types)}")
    if kind != "Sequence":
        yield where, value
        return
    if depth == _MAX_DEPTH:
        raise refused(where, f"is nested more than {_MAX_DEPTH} times")
    for number, node in enumerate(as_list(value.get(inner), f"{where}.{inner}")):
        yield from _nodes(as_object(node, where), f"{where}.{inner}[{number}]", depth + 1)


def _checked_model(model: Mapping[str, Any]) -> Mapping[str, int]:
    """Validates the model; returns the ids of its words."""
    vocabulary = model.get("vocab")
    # Files from before 2020 do not have it.
    kind = model.get("type", "Unigram" if isinstance(vocabulary, list) else "BPE")
    if kind not in _MODELS:
        names = ", ".join(_MODELS)
        raise refused("model.type", f"is {str(kind)[:50]!r}, not one of {names}")
    if model.get("dropout") not in (None, 0):
        raise refused(
            "model.dropout", "makes tokens random, so that a conversion cannot be verified"
        )
    if "max_input_chars_per_word" in model:
        where = "model.max_input_chars_per_word"
        as_count(model["max_input_chars_per_word"], where, _MAX_WORD)
    return _word_list(vocabulary) if kind == "Unigram" else _word_ids(vocabulary)


def _word_list(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of a Unigram model's words, which are their indices."""
    words = as_list(vocabulary, "model.vocab")
    for number, word in enumerate(words):
        if not (isinstance(word, list) and len(word) == 2 and isinstance(word[0], str)):
            raise refused(f"model.vocab[{number}]", "should be a word and its score")
    return {word: number for number, (word, _) in enumerate(words)}


def _word_ids(vocabulary: Any) -> Mapping[str, int]:
    """Returns the ids of other models' words."""
    ids: Mapping[str, int] = as_object(vocabulary, "model.vocab")
    by_id: dict[int, str] = {}
    for word, number in ids.items():
        if type(number) is not int or not 0 <= number <= MAX_TOKEN_ID:
            as_count(number, f"model.vocab.{word[:50]}", MAX_TOKEN_ID)
        other = by_id.setdefault(number, word)
        if other != word:
            raise refused(
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
    for number, token in enumerate(as_list(tokens, "added_tokens")):
        where = f"added_tokens[{number}]"
        content = as_text(as_object(token, where).get("content"), f"{where}.content")
        said = as_count(token.get("id"), f"{where}.id", MAX_TOKEN_ID)
        if not content:  # is skipped
            continue
        got = given.get(content, vocabulary.get(content))
        if got is None:
            got = max(len(vocabulary), max(given.values(), default=-1) + 1)
        if got != said:
            raise refused(
                f"{where}.id", f"is {said} for {content[:50]!r}, but tokenizers assigns {got}"
            )
        given[content] = got


def _checked_special(where: str, node: Mapping[str, Any], rows: int | None) -> int:
    """Checks the ids that a post-processor adds to each text; returns how many it adds at most."""
    most = MAX_TOKEN_ID if rows is None else rows - 1
    if node["type"] in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            token = as_list(node.get(name), f"{where}.{name}")
            if len(token) != 2:
                raise refused(f"{where}.{name}", "should be a token and its id")
            as_count(token[1], f"{where}.{name}", most)
        return 4  # to a pair, by RobertaProcessing
    if node["type"] == "TemplateProcessing":
        known: dict[str, int] = {}
        tokens = as_object(node.get("special_tokens"), f"{where}.special_tokens")
        for name, token in tokens.items():
            place = f"{where}.special_tokens.{name[:50]}"
            ids = as_list(as_object(token, place).get("ids"), f"{place}.ids")
            for number in ids:
                as_count(number, f"{place}.ids", most)
            known[name] = len(ids)
        return max(
            _checked_template(node.get(name), f"{where}.{name}", known)
            for name in ("single", "pair")
        )
    return 0


def _checked_template(value: Any, where: str, lengths: Mapping[str, int]) -> int:
    """Checks a template; returns how many special tokens it adds."""
    special, repeats = 0, {"A": 0, "B": 0}
    for number, piece in enumerate(as_list(value, where)):
        place = f"{where}[{number}]"
        kind, *others = as_object(piece, place) or [""]
        token = as_object(piece.get(kind), place)
        name = as_text(token.get("id"), f"{place}.id")
        as_count(token.get("type_id"), f"{place}.type_id", MAX_TOKEN_ID)
        if kind == "Sequence" and name in repeats and not others:
            repeats[name] += 1
        elif kind == "SpecialToken" and name in lengths and not others:
            special += lengths[name]
        else:
            raise refused(
                place, f"is {name[:50]!r}, which is neither a text nor a token of special_tokens"
            )
    # Truncation by tokenizers accounts for special tokens, but not for repetitions.
    if max(repeats.values()) > 1:
        raise refused(where, f"repeats each text {max(repeats.values())} times")
    return special


def _check_padding(padding: Any) -> None:
    """Refuses padding that needs absurd memory."""
    if padding is None:
        return
    strategy = as_object(padding, "padding").get("strategy")
    if isinstance(strategy, dict):
        as_count(strategy.get("Fixed"), "padding.strategy.Fixed", _MAX_LENGTH)
    if padding.get("pad_to_multiple_of") is not None:
        as_count(padding["pad_to_multiple_of"], "padding.pad_to_multiple_of", _MAX_LENGTH)
    as_count(padding.get("pad_id"), "padding.pad_id", MAX_TOKEN_ID)
