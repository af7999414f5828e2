"""WordPiece by onnxruntime-extensions.

Its BertTokenizer lower-cases and strips accents of Latin letters only, and takes one text. So a
text is first split into characters by SentencePiece, whose map of characters does exactly what the
tokenizer's normalizer and pre-tokenizer do. The characters are joined to one text of words, and
WordpieceTokenizer, which only splits words, finds the tokens of the whole batch.
"""

import json
from collections.abc import Mapping
from typing import Any

from embconvert.derive.tokenizer.characters import changed_characters, without_private
from embconvert.derive.tokenizer.charsmap import charsmap
from embconvert.derive.tokenizer.nodes import EXTENSIONS, Nodes, Value
from embconvert.derive.tokenizer.piece_model import Algorithm, PieceType, WordPart, piece_model
from embconvert.derive.tokenizer.pieces import add_pieces
from embconvert.derive.tokenizer.rows import Ragged, ragged

# Private characters: one that no token has, one between words, one for the end of a text, and the
# first of those that stand for added tokens.
_UNKNOWN, _GAP, _END, _FIRST_ADDED = "\U0010fffd", "\U0010fffc", "\U0010fffb", 0x100000
_SPACE = "\u2581"


def add_wordpiece(nodes: Nodes, texts: Value, tokenizer: Any, parts: Mapping[str, Any]) -> Ragged:
    """Splits texts, (batch,) strings, into tokens; `parts` is the file of the Tokenizer."""
    model = parts["model"]
    vocabulary = dict(model["vocab"])
    added = {each["content"]: each["id"] for each in parts.get("added_tokens") or ()}
    signs = {content: chr(_FIRST_ADDED + number) for number, content in enumerate(added)}
    prefix = model["continuing_subword_prefix"]
    alphabet = sorted({c for word in vocabulary for c in word.removeprefix(prefix)} - {_SPACE})
    known = {*alphabet, " "}
    changed = {_SPACE: _SPACE, **changed_characters(tokenizer, "")}
    changed = {
        key: "".join(c if c in known else _UNKNOWN for c in text) for key, text in changed.items()
    }
    texts = without_private(nodes, texts, changed)
    end = _END * 2
    pieces = {
        _UNKNOWN * 2: (PieceType.UNKNOWN, _UNKNOWN),
        end: (PieceType.CONTROL, f" {_END} "),
        _SPACE: (PieceType.NORMAL, " "),
        **{c: (PieceType.NORMAL, c) for c in [*alphabet, _UNKNOWN]},
        # Last, for they may be characters of the alphabet.
        **{content: (PieceType.USER_DEFINED, f" {sign} ") for content, sign in signs.items()},
    }
    splitter = piece_model(
        [WordPart(text, 0.0, kind) for text, (kind, _) in pieces.items()],
        Algorithm.CHAR, charsmap(changed), end=end,
    )  # fmt: skip
    flat, _ = add_pieces(nodes, texts, splitter, ends=True)
    written = [text.replace(" ", f" {_GAP} ") for _, text in pieces.values()]
    characters = nodes.add("Gather", nodes.texts(written), flat)
    joined = nodes.extension("StringJoin", characters, nodes.text(""), nodes.numbers([0]))
    for content, number in added.items():
        vocabulary[signs[content]] = number
    unknown, gap = vocabulary[model["unk_token"]], max(vocabulary.values()) + 1
    vocabulary |= {_GAP: gap, _END: gap + 1}
    words = nodes.several(
        "WordpieceTokenizer", joined, nodes.numbers([]), outputs=4, domain=EXTENSIONS,
        vocab=json.dumps(vocabulary), suffix_indicator=prefix, unknown_token=model["unk_token"],
        max_input_chars_per_word=model["max_input_chars_per_word"],
    )[0]  # fmt: skip
    ids = nodes.add(
        "LabelEncoder", words, domain="ai.onnx.ml", keys_strings=[w.encode() for w in vocabulary],
        values_int64s=list(vocabulary.values()), default_int64=unknown,
    )  # fmt: skip
    return _of_words(nodes, ids, unknown=unknown, gap=gap)


def _of_words(nodes: Nodes, ids: Value, *, unknown: int, gap: int) -> Ragged:
    """Removes the marks between words and texts, and what precedes an unknown part of a word.

    WordpieceTokenizer keeps the tokens that it found before it meets an unknown part; in BERT, the
    whole word is unknown.

    Args:
        ids: Tokens, (tokens,) int64.
        unknown: Of unknown words.
        gap: Between words; the next id is that of the end of a text.
    """
    one = nodes.number(1)
    is_mark = nodes.add("GreaterOrEqual", ids, nodes.number(gap))
    marks = nodes.add("Squeeze", nodes.add("NonZero", is_mark), nodes.numbers([0]))
    last = nodes.add("Max", nodes.add("Sub", marks, one), nodes.number(0))
    is_unknown = nodes.add("Equal", ids, nodes.number(unknown))
    word = nodes.add("CumSum", nodes.whole(is_mark), nodes.number(0), exclusive=1)
    of_unknown = nodes.add("Gather", nodes.add("Gather", is_unknown, last), word)
    partial = nodes.add("And", of_unknown, nodes.add("Not", is_unknown))
    kept = nodes.add("Not", nodes.add("Or", partial, is_mark))
    return ragged(nodes, ids, kept, nodes.add("Equal", ids, nodes.number(gap + 1)))
