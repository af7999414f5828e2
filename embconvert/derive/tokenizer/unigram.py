"""Unigram by onnxruntime-extensions' SentencePiece, with a model made from tokenizer.json.

Regular expressions do before it what tokenizers does otherwise: spaces around added tokens, at the
start and at the end, and combining marks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embconvert.derive.tokenizer.charsmap import charsmap
from embconvert.derive.tokenizer.graphemes import Replacement, char_class, grapheme_steps, keys_of
from embconvert.derive.tokenizer.nodes import Nodes, Value
from embconvert.derive.tokenizer.piece_model import Algorithm, PieceType, WordPart, piece_model
from embconvert.derive.tokenizer.pieces import add_pieces
from embconvert.derive.tokenizer.rows import Ragged

_SPACE = "\u2581"
# Noncharacters: one before a word, and one that stops keys of the map.
_BEFORE_WORD, _BLOCK, _NEITHER = "\ufdd0", "\ufdd1", "\ufdd2"
# What Rust calls white space.
_WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def add_unigram(nodes: Nodes, texts: Value, tokenizer: Any, parts: Mapping[str, Any]) -> Ragged:
    """Splits texts, (batch,) strings, into tokens; `parts` is the file of the Tokenizer."""
    model = parts["model"]
    pieces = [WordPart(text, score) for text, score in model["vocab"]]
    unknown = model["unk_id"]
    added = {token["content"]: token["id"] for token in parts.get("added_tokens") or ()}
    for content, number in added.items():
        pieces[number : number + 1] = [WordPart(content, 0.0, PieceType.USER_DEFINED)]
    # Texts may contain the unknown token literally, which SentencePiece does not find.
    literal = len(pieces)
    pieces.append(pieces[unknown]._replace(type=PieceType.USER_DEFINED))
    pieces[unknown] = WordPart(_NEITHER * 2, 0.0, PieceType.UNKNOWN)
    rules = _rules(tokenizer, parts, added)
    changed = rules.changed
    texts = _replaced(nodes, texts, rules.steps[:1])
    if rules.marks:
        texts = _if_any(nodes, texts, rules.marks, rules.of_marks)
    texts = _replaced(nodes, texts, rules.steps[1:])
    content = piece_model(pieces, Algorithm.UNIGRAM, charsmap(changed))
    found, limits = add_pieces(nodes, texts, content, ends=False)
    one, start = nodes.numbers([1]), nodes.numbers([0])
    begin = nodes.add("Slice", limits, start, nodes.numbers([-1]))
    end = nodes.add("Slice", limits, one, nodes.numbers([1 << 62]))
    ids = nodes.whole(found)
    is_literal = nodes.add("Equal", ids, nodes.number(literal))
    return Ragged(nodes.add("Where", is_literal, nodes.number(unknown), ids), begin, end)


@dataclass(frozen=True)
class _Rules:
    """What happens to texts before they are split.

    Attributes:
        changed: SentencePiece's map.
        steps: Replacements before it.
        marks: A class of characters; texts that have one need `of_marks`. "" for none.
        of_marks: Replacements after the first of `steps`.
    """

    changed: dict[str, str]
    steps: Sequence[Replacement]
    marks: str
    of_marks: Sequence[Replacement]


def _replaced(nodes: Nodes, texts: Value, steps: Sequence[Replacement]) -> Value:
    for pattern, text in steps:
        texts = nodes.extension("StringRegexReplace", texts, nodes.text(pattern), nodes.text(text))
    return texts


def _if_any(nodes: Nodes, texts: Value, characters: str, steps: Sequence[Replacement]) -> Value:
    """Does replacements if a text has one of some characters: large patterns cost milliseconds."""
    from onnx import TensorProto, helper

    def branch(name: str, steps: Sequence[Replacement]) -> Any:
        inner = Nodes(f"{nodes.prefix}{name}.")
        found = _replaced(inner, inner.add("Identity", texts), steps)
        output = helper.make_tensor_value_info(found, TensorProto.STRING, ["batch"])
        return helper.make_graph(inner.made, name, [], [output])

    same = nodes.extension(
        "StringEqual", texts, _replaced(nodes, texts, [Replacement(characters, "")])
    )
    changed = nodes.add("ReduceMax", nodes.whole(nodes.add("Not", same)), keepdims=0)
    return nodes.add(
        "If", nodes.add("Equal", changed, nodes.number(1)),
        then_branch=branch("marks", steps), else_branch=branch("plain", ()),
    )  # fmt: skip


def _rules(tokenizer: Any, parts: Mapping[str, Any], added: Mapping[str, int]) -> _Rules:
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    kinds = {step["type"] for part in ("normalizer", "pre_tokenizer") for step in flat(parts[part])}
    codes = (*range(1, 0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xF0000))
    changed = {c: text for c in map(chr, codes) if (text := normalize(c)) != c}
    if "WhitespaceSplit" in kinds:
        changed |= {c: " " for c in _WHITE if c != " " and c not in changed}
    removed = [c for c, text in changed.items() if not text]
    spaces = [" ", *(c for c, text in changed.items() if text == " ")]
    spaced = [c for c, text in changed.items() if text.startswith(" ") and text != " "]
    keys = [
        key
        for step in flat(parts["normalizer"])
        if step["type"] == "Precompiled"
        for key in keys_of(step["precompiled_charsmap"])
    ]
    space, tokens = char_class(spaces), "|".join(map(quoted, sorted(added, key=len, reverse=True)))
    tokens = f"(?:{tokens})" if tokens else "[^\\x{0}-\\x{10ffff}]"
    starts_word = f"{char_class([*spaces, *spaced, _SPACE])}|{tokens}|\\z"
    steps = [Replacement(char_class([_BEFORE_WORD, _BLOCK]), _NEITHER)]
    marks, of_marks = grapheme_steps(normalize, changed, keys, _BLOCK) if keys else ("", [])
    if removed:
        steps.append(Replacement(f"{char_class(removed)}+", ""))
    if "WhitespaceSplit" in kinds:
        steps.append(Replacement(f"{space}+({tokens}|\\z)", r"\1"))
        steps.append(Replacement(f"({tokens}|\\A){space}+", r"\1"))
        # A word that starts with the sign for a space gets no other one.
        steps.append(Replacement(f"{space}+{_SPACE}", _SPACE))
    splits = flat(parts["pre_tokenizer"])
    scheme = next((_prefix(step) for step in splits if step["type"] == "Metaspace"), "")
    if scheme:
        before = f"({tokens}|\\A)" if scheme == "always" else "(\\A)"
        steps += [
            Replacement(before, rf"\1{_BEFORE_WORD}"),
            Replacement(f"{_BEFORE_WORD}({starts_word})", r"\1"),
        ]
    if {"WhitespaceSplit", "Replace"} & kinds:
        steps += [Replacement(f"{space}{{2,}}", " ")]
        steps += [Replacement(f"{space}({char_class(spaced)})", r"\1")] if spaced else []
    return _Rules(changed | {_BEFORE_WORD: " ", _BLOCK: ""}, steps, marks, of_marks)


def _prefix(metaspace: Mapping[str, Any]) -> str:
    """Returns where a pre-tokenizer puts a space: before which segments of a text."""
    scheme = metaspace.get("prepend_scheme", "always")
    return "" if scheme == "never" or not metaspace.get("add_prefix_space", True) else scheme


def quoted(text: str) -> str:
    """Returns a text as a pattern of RE2."""
    return re.sub(r"[^\w]", lambda found: rf"\x{{{ord(found[0]):x}}}", text)


def flat(part: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Returns the steps of a part of tokenizer.json, those of sequences one by one."""
    if part is None:
        return []
    inner = part.get("normalizers") or part.get("pretokenizers") or part.get("processors")
    return [step for each in inner for step in flat(each)] if inner else [part]
