"""What a tokenizer.json may ask for in all of its steps together."""

import json
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import SourceError
from embconvert.source.tokenizer_file import check_tokenizer_file

_MARKS = {"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["a", 0]}


def template(special: int) -> dict[str, Any]:
    """A template with so many special tokens before a text."""
    return {
        "type": "TemplateProcessing",
        "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]}},
        "single": [
            *[{"SpecialToken": {"id": "a", "type_id": 0}}] * special,
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
    }


def processors(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"post_processor": {"type": "Sequence", "processors": list(steps)}}


def check(folder: Path, parts: dict[str, Any]) -> None:
    model = {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0, "b": 1}}
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({"version": "1.0", "model": model, **parts}), encoding="utf-8")
    check_tokenizer_file(file, 2)


@pytest.mark.parametrize(
    "parts", [processors(_MARKS), processors({"type": "ByteLevel"}, template(1024))]
)
def test_a_text_may_get_some_special_tokens(tmp_path: Path, parts: dict[str, Any]) -> None:
    check(tmp_path, parts)


@pytest.mark.parametrize(
    "parts", [processors(template(1025)), processors(template(600), template(600))]
)
def test_post_processors_together_add_no_thousands(tmp_path: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"adds 1[0-9]* tokens to each text"):
        check(tmp_path, parts)


@pytest.mark.parametrize(
    "parts",
    [
        processors(*[_MARKS] * 300),
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 300}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}] * 300}},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_a_part_has_not_hundreds_of_steps(tmp_path: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="has 300 steps"):
        check(tmp_path, parts)
