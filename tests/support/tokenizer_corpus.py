"""Models whose tokenizer files are malicious or broken: each function makes one of a good model."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.corpus import DEEP, Hostile, edit, json_file
from support.zoo import SPECIAL_TOKENS

TOKENIZER = "tokenizer.json"
Change = Callable[[dict[str, Any]], None]


def tokenizer(change: Change) -> Callable[[Path], None]:
    """A tokenizer.json that is changed in place."""

    def spoil(model: Path) -> None:
        value = json.loads((model / TOKENIZER).read_text())
        change(value)
        (model / TOKENIZER).write_text(json.dumps(value))

    return spoil


def part(**changes: Any) -> Callable[[Path], None]:
    """A tokenizer.json with other parts."""
    return tokenizer(lambda value: value.update(changes))


def model_part(**changes: Any) -> Callable[[Path], None]:
    """A tokenizer.json whose model has other settings."""
    return tokenizer(lambda value: value["model"].update(changes))


def words(**ids: Any) -> Callable[[Path], None]:
    """More entries of the vocabulary, or others."""
    return tokenizer(lambda value: value["model"]["vocab"].update(ids))


def added(*tokens: tuple[Any, str]) -> Callable[[Path], None]:
    """More added tokens: id and text."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    more = [{"id": number, "content": text, **flags, "special": True} for number, text in tokens]
    return tokenizer(lambda value: value["added_tokens"].extend(more))


def replacing(*contents: str, pattern: dict[str, str] | None = None) -> Callable[[Path], None]:
    """A normalizer that replaces a letter by each of these, one after another."""
    steps = [
        {"type": "Replace", "pattern": pattern or {"String": "a"}, "content": content}
        for content in contents
    ]
    return part(normalizer={"type": "Sequence", "normalizers": steps})


def split(pattern: str) -> Callable[[Path], None]:
    """A pre-tokenizer that splits at this regular expression."""
    return tokenizer(
        lambda value: value["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": pattern})
    )


def template(**changes: Any) -> Callable[[Path], None]:
    """A template of special tokens with other parts."""
    return tokenizer(lambda value: value["post_processor"].update(changes))


def special(token: str, *ids: Any) -> dict[str, Any]:
    """Special tokens of a template: of this one the ids are others."""
    known = {"<s>": [1], "</s>": [2], token: list(ids)}
    return {
        name: {"id": name, "ids": numbers, "tokens": [name] * len(numbers)}
        for name, numbers in known.items()
    }


def charsmap(content: bytes | str) -> Callable[[Path], None]:
    """A normalizer that is a precompiled map."""
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return part(normalizer={"type": "Precompiled", "precompiled_charsmap": text})


def padding(**changes: Any) -> Callable[[Path], None]:
    """Padding that the file itself asks for."""
    usual = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    return part(padding={**usual, **changes})


def truncation(**changes: Any) -> Callable[[Path], None]:
    """Truncation that the file itself asks for."""
    usual = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    return part(truncation={**usual, **changes})


def settings(name: str, **changes: Any) -> Callable[[Path], None]:
    """A settings file of the tokenizer with other keys; made where it is missing."""

    def spoil(model: Path) -> None:
        if not (model / name).exists():
            (model / name).write_text("{}")
        edit(model / name, **changes)

    return spoil


def nested(depth: int) -> dict[str, Any]:
    """Normalizers in normalizers."""
    value: dict[str, Any] = {"type": "Lowercase"}
    for _ in range(depth):
        value = {"type": "Sequence", "normalizers": [value]}
    return value


def both(*spoils: Callable[[Path], None]) -> Callable[[Path], None]:
    """One after another."""

    def spoil(model: Path) -> None:
        for one in spoils:
            one(model)

    return spoil


def _trie(*units: int, strings: bytes = b"a\0") -> bytes:
    return struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + strings


#: Refused for what the file says, before anything is loaded.
REFUSED: dict[str, Hostile] = {
    "no object": Hostile(json_file(TOKENIZER, b"[]"), 3, "tokenizer.json"),
    "no model": Hostile(part(model=None), 3, "tokenizer.json: model"),
    "deep": Hostile(json_file(TOKENIZER, DEEP), 3, "tokenizer.json is not JSON"),
    "byte order mark": Hostile(json_file(TOKENIZER, b"\xef\xbb\xbf{}"), 3, "byte order mark"),
    "unknown model": Hostile(model_part(type="Evil"), 3, "tokenizer.json: model.type"),
    "unknown normalizer": Hostile(
        part(normalizer={"type": "Evil"}), 3, "tokenizer.json: normalizer.type"
    ),
    "unknown pre-tokenizer in a sequence": Hostile(
        tokenizer(lambda t: t["pre_tokenizer"]["pretokenizers"].append({"type": "Evil"})),
        3, "tokenizer.json: pre_tokenizer.pretokenizers[2].type",
    ),
    "unknown post-processor": Hostile(
        part(post_processor={"type": "Evil"}), 3, "tokenizer.json: post_processor.type"
    ),
    "unknown decoder": Hostile(part(decoder={"type": "Evil"}), 3, "tokenizer.json: decoder.type"),
    "normalizers in normalizers": Hostile(part(normalizer=nested(100)), 3, "nested"),
    "dropout": Hostile(model_part(dropout=0.5), 3, "tokenizer.json: model.dropout"),
    "dropout of a word": Hostile(model_part(dropout="x"), 3, "tokenizer.json: model.dropout"),
    "id beyond counting": Hostile(words(zz=(1 << 32) - 1), 3, "model.vocab"),
    "negative id": Hostile(words(zz=-1), 3, "model.vocab"),
    "id that is no number": Hostile(words(zz="7"), 3, "model.vocab"),
    "id that is a flag": Hostile(words(zz=True), 3, "model.vocab"),
    "two words with one id": Hostile(words(zz=17), 3, "model.vocab"),
    "vocabulary that is a list of numbers": Hostile(model_part(vocab=[1, 2]), 3, "model.vocab"),
    "vocabulary that is a path": Hostile(model_part(vocab="/etc/passwd"), 3, "model.vocab"),
    "added token of a negative id": Hostile(added((-1, "zz")), 3, "added_tokens[5].id"),
    "added token of an id beyond counting": Hostile(
        added((4_000_000_000, "zz")), 3, "added_tokens[5].id"
    ),
    "added token that lies about a word": Hostile(
        both(words(zz=400), added((7, "zz"))), 3, "added_tokens[5].id"
    ),
    "added token that takes a word's id": Hostile(added((17, "zz")), 3, "added_tokens[5].id"),
    "added tokens in another order": Hostile(
        added((401, "zz"), (400, "yy")), 3, "added_tokens[5].id"
    ),
    "added tokens that are no list": Hostile(part(added_tokens={}), 3, "added_tokens"),
    "template of an id beyond the table": Hostile(
        template(special_tokens=special("<s>", 4_294_967_295)), 3,
        "post_processor.special_tokens.<s>.ids",
    ),
    "template of an id just beyond the table": Hostile(
        template(special_tokens=special("<s>", 400)), 3, "post_processor.special_tokens.<s>.ids"
    ),
    "template of thousands": Hostile(
        template(special_tokens=special("<s>", *[1] * 5000)), 3, "post_processor"
    ),
    "template that repeats the text": Hostile(
        template(single=[{"Sequence": {"id": "A", "type_id": 0}}] * 1000), 3,
        "post_processor.single",
    ),
    "template of an unknown token": Hostile(
        template(single=[{"SpecialToken": {"id": "zz", "type_id": 0}}]), 3,
        "post_processor.single[0]",
    ),
    "Bert's template beyond the table": Hostile(
        part(post_processor={"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 999]}), 3,
        "post_processor.cls",
    ),
    "letter that grows": Hostile(replacing(*["a" * 100] * 4), 3, "normalizer.normalizers"),
    "pattern that grows": Hostile(
        replacing(*["a" * 100] * 4, pattern={"Regex": "a"}), 3, "normalizer.normalizers"
    ),
    "letters that grow in turns": Hostile(
        part(normalizer={"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": a}, "content": b * 50}
            for a, b in ("ab", "bc", "cd", "de")
        ]}), 3, "normalizer.normalizers",
    ),
    "text before each text": Hostile(
        part(normalizer={"type": "Prepend", "prepend": "a" * 10**6}), 3, "normalizer.prepend"
    ),
    "words of any length": Hostile(
        part(model={"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 10**12, "vocab": {"<unk>": 3, "a": 9}}), 3,
        "model.max_input_chars_per_word",
    ),
    "empty map": Hostile(charsmap(b""), 3, "normalizer.precompiled_charsmap"),
    "map of zeros": Hostile(charsmap(bytes(4)), 3, "normalizer.precompiled_charsmap"),
    "map of garbage": Hostile(
        charsmap(bytes(range(7, 71))), 3, "normalizer.precompiled_charsmap"
    ),
    "map that lies about its size": Hostile(
        charsmap(b"\xff\xff\xff\x7f" + bytes(16)), 3, "normalizer.precompiled_charsmap"
    ),
    "map that is no base64": Hostile(charsmap("!!"), 3, "normalizer.precompiled_charsmap"),
    "map that is nothing": Hostile(
        part(normalizer={"type": "Precompiled", "precompiled_charsmap": None}), 3,
        "normalizer.precompiled_charsmap",
    ),
    "map that grows": Hostile(
        charsmap(_trie(0, strings=b"a" * 10**6 + b"\0")), 3, "normalizer.precompiled_charsmap"
    ),
    "padding without end": Hostile(
        padding(strategy={"Fixed": 10**8}), 3, "tokenizer.json: padding.strategy"
    ),
    "padding to a multiple without end": Hostile(
        padding(pad_to_multiple_of=10**8), 3, "tokenizer.json: padding.pad_to_multiple_of"
    ),
    "added_tokens.json of an id beyond counting": Hostile(
        settings("added_tokens.json", zz=10**9), 3, "added_tokens.json"
    ),
    "added_tokens_decoder of an id beyond counting": Hostile(
        settings("tokenizer_config.json", added_tokens_decoder={"1000000000": {"content": "zz"}}),
        3, "added_tokens_decoder",
    ),
    "a million extra ids": Hostile(
        settings("tokenizer_config.json", extra_ids=10**6), 3, "extra_ids"
    ),
    "offset of a billion": Hostile(settings("tokenizer_config.json", offset=10**9), 3, "offset"),
}  # fmt: skip

#: Found when the tokenizer is used.
FOUND: dict[str, Hostile] = {
    "catastrophic pattern": Hostile(split(r"(?:.|..)+$(?<=\d{9})"), 3, "tokenizer.json"),
    "broken pattern": Hostile(split("("), 3, "tokenizer.json"),
    "deep pattern": Hostile(split("(" * 20_000 + ")" * 20_000), 3, "tokenizer.json"),
    "merge of unknown words": Hostile(model_part(merges=[["zz", "yy"]]), 3, "tokenizer.json"),
    "map whose trie is garbage": Hostile(
        charsmap(_trie(*[0xFFFFFFFF] * 4)), 3, "tokenizer.json"
    ),
    "words beyond the table": Hostile(
        tokenizer(lambda t: t["model"].update(
            vocab={w: i + (300 if i > 4 else 0) for w, i in t["model"]["vocab"].items()}
        )), 3, "tokenizer.json",
    ),
    "token type beyond the table": Hostile(
        template(single=[{"SpecialToken": {"id": "<s>", "type_id": 77}},
                         {"Sequence": {"id": "A", "type_id": 0}}]), 3, "tokenizer.json",
    ),
    "no token for any text": Hostile(
        both(
            model_part(vocab=dict(zip(SPECIAL_TOKENS, range(5), strict=True)), merges=[]),
            part(post_processor=None),
        ), 3, "no token",
    ),
    "negative length": Hostile(
        both(settings("sentence_bert_config.json", max_seq_length=None),
             settings("tokenizer_config.json", model_max_length=-5)), 3, "model_max_length",
    ),
}  # fmt: skip

#: Odd, and right.
HARMLESS: dict[str, Hostile] = {
    "padding of its own": Hostile(padding(strategy={"Fixed": 128}, pad_id=3), 0, ""),
    "truncation of its own": Hostile(truncation(), 0, ""),
    "stride over the length": Hostile(truncation(max_length=1, stride=5), 0, ""),
    "words beyond the table that no text has": Hostile(
        both(words(**{"\x00zz": 400}), added((401, "<extra>"))), 0, ""
    ),
    "a second sort of replacement": Hostile(
        replacing(*[f"{n}/2" for n in range(30)], pattern={"String": "½"}), 0, ""
    ),
    "special tokens that are odd": Hostile(
        settings("special_tokens_map.json", odd_token="<pad>", mask_token=None), 0, ""
    ),
}


def made_of(kind: str, **files: bytes) -> Callable[[Path], None]:
    """A model without tokenizer.json, whose tokenizer is of this class and of these files."""

    def spoil(model: Path) -> None:
        (model / TOKENIZER).unlink()
        edit(model / "tokenizer_config.json", tokenizer_class=kind)
        for name, content in files.items():
            (model / name.replace("__", ".")).write_bytes(content)

    return spoil


_WORDS = [b"<pad>", b"<s>", b"</s>", b"<unk>", b"<mask>", *(b"w%d" % n for n in range(300))]
_LINES = b"\n".join(_WORDS)
_JSON = json.dumps({word.decode(): number for number, word in enumerate(_WORDS)}).encode()

#: A conversion, or an error.
OTHER_FILES: dict[str, Callable[[Path], None]] = {
    "a vocabulary of garbage": made_of("BertTokenizer", vocab__txt=bytes(range(256)) * 10),
    "a vocabulary with all that is odd": made_of(
        "BertTokenizer", vocab__txt=b"\xef\xbb\xbf" + _LINES + b"\nw1\nw2\n\0\n\n" + _LINES
    ),
    "a vocabulary of one line": made_of("BertTokenizer", vocab__txt=b"a" * (1 << 25)),
    "a vocabulary that is larger than the table": made_of(
        "BertTokenizer",
        vocab__txt=b"\n".join(b"w%d" % n for n in range(5000)) + b"\na\ntext\n" + _LINES,
    ),
    "no vocabulary": made_of("BertTokenizer", vocab__txt=b""),
    "merges of garbage": made_of(
        "RobertaTokenizer", vocab__json=_JSON, merges__txt=b"#version\nq q\n\0\xff\nw1\n"
    ),
    "words that lie": made_of(
        "RobertaTokenizer", vocab__json=b'{"a": -1, "b": 4294967296}', merges__txt=b"a b\n"
    ),
    "words that are no object": made_of("RobertaTokenizer", vocab__json=b"[]", merges__txt=b""),
    "sentences of garbage": made_of("XLMRobertaTokenizer", sentencepiece__bpe__model=b"\0" * 999),
    "sentences of nothing": made_of("XLMRobertaTokenizer", sentencepiece__bpe__model=b""),
    "pieces of garbage": made_of("T5Tokenizer", spiece__model=bytes(range(256)) * 99),
    "a tokenizer model of text": made_of("LlamaTokenizer", tokenizer__model=b"YQ== 1\nYg== x\n"),
}
