"""Tokenizers in graphs give the tokens of tokenizer.json."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.derive.tokenizer.checking import check_tokens, tokenizer_model
from embconvert.derive.tokenizer.text_graph import text_graph, tokenizer_problem
from embconvert.errors import DeriveError
from embconvert.fidelity.tokenization import TextTokenizer
from embconvert.graph.extensions import with_extensions
from embconvert.graph.runtime import open_session, session_options
from embconvert.models.choices import OFFSETS
from embconvert.models.forms import TEXT_INPUT
from support.small_tokenizers import write_byte_bpe, write_unigram, write_wordpiece

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
        partial(write_byte_bpe, padding={"pad_id": 1}, truncation={"max_length": 24}),
        partial(write_byte_bpe, adds_space=True, padding={"pad_id": 1, "direction": "left"}),
    ],
    ids=["uncased", "cased, left", "spaces kept", "spaces split", "bytes", "bytes after a space"],
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


def test_bpe_of_bytes_keeps_the_characters_that_it_uses_as_marks(tmp_path: Path) -> None:
    """In texts; and what looks like the beginning of an added token."""
    write_byte_bpe(tmp_path)
    marks = [chr(0x100000 + number) for number in (*range(9), 0x3F, 0x40, 0xFFFF)]
    texts = [
        *marks,
        *(f"a {mark}{mark}  b" for mark in marks),
        "".join(marks),
        *SPLIT_OTHERWISE.values(),
    ]
    texts += ["<mas", "the <mask", " \n <mask>  <mask><mask> a", "\ufdd0", "a<|endoftext|>b"]
    places = range(len(texts))
    expected = TextTokenizer(tmp_path).tokenize(texts).batch(places, ["input_ids"])["input_ids"]
    assert outputs(tmp_path, texts, "input_ids")["input_ids"].tolist() == expected.tolist()


def test_bpe_of_bytes_has_ids_without_gaps(tmp_path: Path) -> None:
    """With gaps, onnxruntime-extensions 0.15.2 writes beyond its memory."""
    write_byte_bpe(tmp_path)
    nodes = text_graph(tmp_path, TEXT_INPUT, INPUTS).nodes
    given = [a.s for n in nodes if n.op_type == "GPT2Tokenizer" for a in n.attribute]
    vocabularies = [json.loads(text) for text in given if text.startswith(b"{")]
    assert len(vocabularies) == 2
    for vocabulary in vocabularies:
        assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_an_algorithm_without_operators_is_refused_by_name(tmp_path: Path) -> None:
    write_wordpiece(tmp_path)
    change(tmp_path, lambda parts: parts.update(model={"type": "WordLevel", "vocab": {}}))
    parts = json.loads((tmp_path / "tokenizer.json").read_text())
    assert "algorithm is WordLevel, and only BPE, Unigram, WordPiece" in tokenizer_problem(parts)


@pytest.mark.parametrize(("part", "problem"), [
    ({"normalizer": {"type": "NFC"}}, "the normalizer NFC"),
    ({"pre_tokenizer": {"type": "Metaspace"}}, r"other rules for words \(Metaspace\)"),
    ({"pre_tokenizer": None}, r"other rules for words \(none\)"),
    ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}}, "other rules for words"),
    ({"model": {"type": "BPE", "ignore_merges": True}}, "the setting ignore_merges"),
    (
        {"model": {"type": "BPE", "unk_token": "<unk>", "vocab": {"a": 0}}},
        "bytes that become the unknown token",
    ),
    (
        {"added_tokens": [{"content": f"<{n}>", "id": n} for n in range(1001)]},
        "more than 1000 added tokens",
    ),
])  # fmt: skip
def test_other_kinds_of_bpe_are_refused(part: Any, problem: str, tmp_path: Path) -> None:
    write_byte_bpe(tmp_path)
    parts = json.loads((tmp_path / "tokenizer.json").read_text())
    assert not tokenizer_problem(parts)
    assert re.search(f"BPE with {problem}", tokenizer_problem(parts | part))


#: Short texts that operators for BPE of bytes split otherwise; see docs/guides/databases.md.
SPLIT_OTHERWISE = {
    "the beginning of a special token": "the <s",
    "a space that is not known": "the  \x85",
    "a letter that is not known": "a\U0003222ab",
}


@pytest.mark.parametrize("operator", ["GPT2Tokenizer", "HfJsonTokenizer"])
@pytest.mark.parametrize("reason", SPLIT_OTHERWISE)
def test_operators_for_bpe_split_some_texts_otherwise(reason: str, operator: str) -> None:
    """That is why graphs mark the words before: if an update changes it, they need not."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    usual, odd = "the quick brown fox's 2 foxes\n\njump", SPLIT_OTHERWISE[reason]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([usual, odd] * 5, trainer)
    assert by_its_operator(operator, tokenizer, usual) == tokenizer.encode(usual).ids
    assert by_its_operator(operator, tokenizer, odd) != tokenizer.encode(odd).ids


def by_its_operator(operator: str, tokenizer: Any, text: str) -> list[int]:
    """The tokens of an operator of onnxruntime-extensions for BPE."""
    from onnx import TensorProto, helper

    parts = json.loads(tokenizer.to_str())
    attributes = {
        "GPT2Tokenizer": {
            "vocab": json.dumps(parts["model"]["vocab"]),
            "merges": "\n".join(" ".join(pair) for pair in parts["model"]["merges"]),
            "added_token": "\n".join(f"{t['content']}={t['id']}" for t in parts["added_tokens"]),
            "padding_length": -1,
        },
        "HfJsonTokenizer": {
            "tokenizer_config": json.dumps({"tokenizer_class": "GPT2Tokenizer"}),
            "tokenizer_vocab": tokenizer.to_str(),
        },
    }[operator]
    names = ["ids", "mask"] if operator == "GPT2Tokenizer" else ["ids"]
    domain = "ai.onnx.contrib"
    graph = helper.make_graph(
        [helper.make_node(operator, ["text"], names, domain=domain, **attributes)],
        "bpe",
        [helper.make_tensor_value_info("text", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("ids", TensorProto.INT64, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = open_session(model.SerializeToString(), with_extensions(session_options()))
    ids: np.ndarray = session.run(["ids"], {"text": np.array([text], dtype=object)})[0]
    return [int(number) for number in ids[0]]


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
