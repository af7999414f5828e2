"""A pair in a chat template is read as one text, whose suffix stays when it is truncated."""

from pathlib import Path

import pytest

from embconvert.fidelity.tokenization import tokenize
from embconvert.models.pair_template import PairTemplate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a tokenizer of single letters, which truncates to eight of them."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    letters = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz<>|")}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="|"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.enable_truncation(8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def read(folder: Path, query: str, document: str, **options: int) -> str:
    template = PairTemplate(prefix="<", middle="|", suffix="yz", suffix_ids=(24, 25))
    (ids,) = tokenize(folder, [(query, document)], rules=template, **options).ids
    return "".join("abcdefghijklmnopqrstuvwxyz<>|"[number] for number in ids)


@pytest.mark.parametrize(
    ("query", "document", "text"),
    [
        ("ab", "c", "<ab|cyz"),
        ("ab", "cd", "<ab|cdyz"),
        ("ab", "cde", "<ab|cdyz"),
        ("abcdefgh", "i", "<abcdeyz"),
    ],
)
def test_the_suffix_stays(query: str, document: str, text: str, folder: Path) -> None:
    assert read(folder, query, document) == text


def test_the_suffix_stays_in_calibration_texts(folder: Path) -> None:
    assert read(folder, "ab", "cde", most=5) == "<abyz"
    assert read(folder, "ab", "cde", most=1) == "z"


def test_the_document_may_be_first(folder: Path) -> None:
    template = PairTemplate(
        prefix="<", middle="|", suffix="z", suffix_ids=(25,), document_first=True
    )
    assert template.text("ab", "cd") == "<cd|abz"
    (ids,) = tokenize(folder, [("abcdef", "gh")], rules=template).ids
    assert "".join("abcdefghijklmnopqrstuvwxyz<>|"[number] for number in ids) == "<gh|abcz"


def test_without_a_suffix_a_text_is_only_truncated(folder: Path) -> None:
    template = PairTemplate(prefix="<", middle="|", suffix="", suffix_ids=())
    (ids,) = tokenize(folder, [("abcdef", "gh")], rules=template).ids
    assert "".join("abcdefghijklmnopqrstuvwxyz<>|"[number] for number in ids) == "<abcdef|"
