"""Tokenizers in graphs give the tokens of tokenizer.json."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.derive.tokenizer.checking import check_tokens, tokenizer_model
from embconvert.derive.tokenizer.text_graph import ALGORITHMS, text_graph
from embconvert.errors import DeriveError
from embconvert.fidelity.tokenization import TextTokenizer
from embconvert.graph.extensions import with_extensions
from embconvert.graph.runtime import open_session, session_options
from embconvert.models.choices import OFFSETS
from embconvert.models.forms import OTHER_ALGORITHMS, TEXT_ALGORITHMS, TEXT_INPUT
from support.small_tokenizers import write_unigram, write_wordpiece

INPUTS = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]
COUNT = 2000


@pytest.mark.parametrize(
    "write",
    [
        partial(write_wordpiece, padding={"pad_id": 0}, truncation={"max_length": 24}),
        partial(
            write_wordpiece,
            lowercase=False,
            padding={"pad_id": 4, "pad_type_id": 3, "direction": "left", "pad_to_multiple_of": 8},
            truncation={"max_length": 20, "direction": "left"},
        ),
        partial(write_unigram, split=False, padding={"pad_id": 1, "length": 12}),
        partial(write_unigram, split=True, truncation={"max_length": 16}),
    ],
    ids=["uncased", "cased, left", "spaces kept", "spaces split"],
)
def test_unusual_texts_get_the_same_inputs(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    check_tokens(text_graph(tmp_path, TEXT_INPUT, INPUTS), tmp_path, COUNT)


@pytest.mark.parametrize("content", ["<unk>", "<end>", "q", "\u00e9t\u00e9"])
def test_any_text_can_be_an_added_token(content: str, tmp_path: Path) -> None:
    write_wordpiece(tmp_path, lowercase=False)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)

    def add(parts: dict[str, Any]) -> None:
        words = parts["model"]["vocab"]
        number = words.get(content, len(words))
        parts["added_tokens"].append({"id": number, "content": content, "special": True, **flags})

    change(tmp_path, add)
    texts = [content, f"the {content} fox", f"the{content}quick", "quick brown"]
    inputs = ["input_ids"]
    expected = TextTokenizer(tmp_path).tokenize(texts).batch(range(4), inputs)["input_ids"]
    assert (expected[0] > 3).sum() == 1
    assert outputs(tmp_path, texts, *inputs)["input_ids"].tolist() == expected.tolist()


def outputs(folder: Path, texts: list[str], *inputs: str) -> dict[str, Any]:
    graph = text_graph(folder, TEXT_INPUT, inputs)
    session = open_session(tokenizer_model(graph), with_extensions(session_options()))
    values = session.run(list(inputs), {TEXT_INPUT: np.array(texts, dtype=object)})
    return dict(zip(inputs, values, strict=True))


def test_tokens_in_a_row_have_offsets(tmp_path: Path) -> None:
    write_unigram(tmp_path, split=True, truncation={"max_length": 6})
    texts = ["the quick brown fox jumps", "", "naïve"]
    expected = TextTokenizer(tmp_path).tokenize(texts).batch([0, 1, 2], ["input_ids", OFFSETS])
    found = outputs(tmp_path, texts, "input_ids", OFFSETS)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in expected.items()
    }


def test_an_algorithm_without_operators_is_refused_by_name(tmp_path: Path) -> None:
    write_wordpiece(tmp_path)
    change(tmp_path, lambda parts: parts.update(model={"type": "BPE", "vocab": {}, "merges": []}))
    with pytest.raises(DeriveError, match="algorithm is BPE, and only Unigram and WordPiece"):
        text_graph(tmp_path, TEXT_INPUT, INPUTS)


@pytest.mark.parametrize(
    "part",
    [
        # Runs of punctuation are one word.
        {"pre_tokenizer": {"type": "Whitespace"}},
        # Letters and marks are composed, which no map of single characters does.
        {"normalizer": {"type": "NFC"}},
    ],
    ids=str,
)
def test_other_tokens_are_refused_with_the_first_text(part: Any, tmp_path: Path) -> None:
    write_wordpiece(tmp_path)
    change(tmp_path, lambda parts: parts.update(part))
    graph = text_graph(tmp_path, TEXT_INPUT, INPUTS)
    with pytest.raises(
        DeriveError, match=r'tokenize ".*" differently from tokenizer.json: token \d+ is'
    ):
        check_tokens(graph, tmp_path, COUNT)


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tokenizer.json"
    parts = json.loads(path.read_text())
    edit(parts)
    path.write_text(json.dumps(parts))


def test_what_is_refused_before_work_starts_is_what_no_graph_can_have() -> None:
    from tokenizers import models

    own = {name for name in dir(models) if name[0].isupper() and name != "Model"}
    assert set(TEXT_ALGORITHMS) == set(ALGORITHMS)
    assert {*TEXT_ALGORITHMS, *OTHER_ALGORITHMS} == own
