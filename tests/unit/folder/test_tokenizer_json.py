"""The published tokenizer.json: what the source's library does to a text, and no other change."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from embconvert.folder.tokenizer_json import corrected
from embconvert.json_files import parse_json

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "é"]


def tokenizer(words: list[str] = WORDS) -> Tokenizer:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def changed(edit: Callable[[Tokenizer], Any]) -> Tokenizer:
    made = tokenizer()
    edit(made)
    return made


def lower_case(used: Tokenizer) -> None:
    used.normalizer = normalizers.Lowercase()


#: What a library may do to a tokenizer, with a text that it makes a difference for.
EDITS: dict[str, tuple[Callable[[Tokenizer], Any], str]] = {
    "lowers case": (lower_case, "A"),
    "cuts": (lambda used: used.enable_truncation(3), "a b a b"),
    "cuts on the left": (lambda used: used.enable_truncation(3, direction="left"), "a b a b"),
    "pads on the left": (lambda used: used.enable_padding(direction="left", length=9), "a"),
    "adds a token": (lambda used: used.add_special_tokens([AddedToken("<x>")]), "<x>"),
    "splits otherwise": (
        lambda used: setattr(used, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()), "a-b",
    ),
    "has no special tokens": (lambda used: setattr(used, "post_processor", None), "a"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("pretty", [True, False])
def test_what_the_library_does_is_in_the_file(name: str, pretty: bool) -> None:
    edit, text = EDITS[name]
    used = changed(edit)
    before, after = tokenizer().encode(text), used.encode(text)
    assert (before.ids, before.attention_mask) != (after.ids, after.attention_mask)

    theirs = tokenizer().to_str(pretty)
    content, _ = corrected(theirs, used, adds_special_tokens=True)
    published = Tokenizer.from_str(content).encode(text)
    assert (published.ids, published.attention_mask) == (after.ids, after.attention_mask)
    again, said = corrected(content, used, adds_special_tokens=True)
    assert (again, said) == (content, ())


@pytest.mark.parametrize("pretty", [True, False])
def test_what_the_file_says_already_stays_to_the_byte(pretty: bool) -> None:
    theirs = tokenizer().to_str(pretty).replace("é", "\\u00e9").replace('"version"', ' "version"')
    assert corrected(theirs, tokenizer(), adds_special_tokens=True) == (theirs, ())

    content, _ = corrected(theirs, changed(lower_case), adds_special_tokens=True)
    normalizer = json.dumps({"type": "Lowercase"}, separators=None if pretty else (",", ":"))
    if not pretty:
        assert content == theirs.replace('"normalizer":null', f'"normalizer":{normalizer}')
    ours, source = content.splitlines(), theirs.splitlines()
    assert [line for line in source if line not in ours] == [
        line for line in source if '"normalizer"' in line
    ]


@pytest.mark.parametrize("name", EDITS)
def test_a_part_that_the_file_says_twice_is_changed_twice(name: str) -> None:
    """Other parsers take the first of two, or refuse the file."""
    parts = json.loads(tokenizer().to_str())
    theirs = f"{json.dumps(parts)[:-1]}, {json.dumps(parts)[1:]}"
    content, _ = corrected(theirs, changed(EDITS[name][0]), adds_special_tokens=True)
    assert parse_json(content.encode(), "tokenizer.json") != parts


def test_a_library_that_adds_no_special_tokens_is_followed() -> None:
    content, said = corrected(tokenizer().to_str(), tokenizer(), adds_special_tokens=False)
    assert Tokenizer.from_str(content).encode("a b").ids == [4, 5]
    assert [(c.setting, c.source) for c in said] == [
        ("post_processor", "has another post-processor")
    ]


def test_another_model_replaces_all() -> None:
    used = tokenizer([*WORDS, "c"])
    content, said = corrected(tokenizer().to_str(), used, adds_special_tokens=True)
    assert Tokenizer.from_str(content).encode("c").ids == [1, 7, 2]
    assert [(c.setting, c.source) for c in said] == [("model", "has another model")]


def test_without_a_file_it_is_made() -> None:
    used = changed(lambda made: made.enable_truncation(3))
    content, said = corrected(None, used, adds_special_tokens=True)
    assert (content, said) == (used.to_str(pretty=True), ())


def test_an_old_file_without_a_part_gets_it() -> None:
    value = json.loads(tokenizer().to_str())
    del value["truncation"], value["padding"]
    used = changed(lambda made: made.enable_truncation(3))
    content, _ = corrected(json.dumps(value), used, adds_special_tokens=True)
    assert Tokenizer.from_str(content).encode("a b").ids == used.encode("a b").ids
    assert len(used.encode("a b").ids) == 3


def test_only_what_a_file_says_contradicts_the_library() -> None:
    def as_minilm(made: Tokenizer) -> None:
        made.enable_truncation(128)
        made.enable_padding(length=128)

    def as_used(made: Tokenizer) -> None:
        made.enable_truncation(256)
        made.enable_padding(direction="left", pad_to_multiple_of=8)

    theirs = changed(as_minilm).to_str()
    _, said = corrected(theirs, changed(as_used), adds_special_tokens=True)
    assert [(c.setting, c.source, c.library) for c in said] == [
        (
            "truncation",
            "truncates texts to the first 128 tokens",
            "truncates texts to the first 256 tokens",
        ),
        (
            "padding",
            "pads texts to 128 tokens (with token 0)",
            "pads texts on the left to the longest of a batch and a multiple of 8 (with token 0)",
        ),
    ]
    _, said = corrected(tokenizer().to_str(), changed(as_used), adds_special_tokens=True)
    assert not said
    _, said = corrected(theirs, tokenizer(), adds_special_tokens=True)
    assert [change.library for change in said] == ["truncates no text", "does not pad"]
