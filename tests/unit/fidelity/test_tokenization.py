"""How texts become a graph's inputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embconvert.errors import SourceError
from embconvert.fidelity.tokenization import tokenize


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "c"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize(
    ("said", "ids"),
    [
        ({}, [[1, 4, 5, 6, 2], [1, 4, 2, 0, 0]]),
        ({"direction": "left"}, [[1, 4, 5, 6, 2], [0, 0, 1, 4, 2]]),
        ({"pad_id": 3}, [[1, 4, 5, 6, 2], [1, 4, 2, 3, 3]]),
        ({"length": 6}, [[1, 4, 5, 6, 2, 0], [1, 4, 2, 0, 0, 0]]),
        ({"pad_to_multiple_of": 4}, [[1, 4, 5, 6, 2, 0, 0, 0], [1, 4, 2, 0, 0, 0, 0, 0]]),
    ],
)
def test_a_batch_is_padded_as_tokenizer_json_says(
    said: dict[str, Any], ids: list[list[int]], folder: Path
) -> None:
    change(folder, lambda tokenizer: tokenizer.enable_padding(**said))
    texts = tokenize(folder, ["a b c", "a"])
    batch = texts.batch([0, 1], ["attention_mask", "input_ids"])
    assert list(batch) == ["attention_mask", "input_ids"]
    assert batch["input_ids"].tolist() == ids
    length = [5, 3]
    left = said.get("direction") == "left"
    for row, mask in enumerate(batch["attention_mask"].tolist()):
        seen = [1] * length[row]
        rest = [0] * (len(mask) - length[row])
        assert mask == (rest + seen if left else seen + rest)
    assert (texts.counting([0, 1]) == batch["attention_mask"]).all()


def test_padding_has_the_token_type_that_tokenizer_json_says(folder: Path) -> None:
    change(folder, lambda tokenizer: tokenizer.enable_padding(pad_type_id=2))
    batch = tokenize(folder, ["a b", "a"]).batch([0, 1], ["token_type_ids"])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0], [0, 0, 0, 2]]


def change(folder: Path, edit: Callable[[Tokenizer], None]) -> None:
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    edit(tokenizer)
    tokenizer.save(str(path))


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_are_cut_where_tokenizer_json_says(side: str, folder: Path) -> None:
    change(folder, lambda tokenizer: tokenizer.enable_truncation(4, direction=side))
    kept = {"right": [1, 4, 5, 2], "left": [1, 5, 6, 2]}
    assert [ids.tolist() for ids in tokenize(folder, ["a b c", ""]).ids] == [kept[side], [1, 2]]
    cut = tokenize(folder, ["a b c"], most=3)
    assert [ids.tolist() for ids in cut.ids] == [{"right": [1, 4, 2], "left": [1, 6, 2]}[side]]
    assert tokenize(folder, ["a b c"], most=100).lengths == [4]


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": 3}),
        ("tokenizer_config.json", {"do_lower_case": True, "model_max_length": 3}),
        ("tokenizer_config.json", {"padding_side": "left", "truncation_side": "left"}),
        ("tokenizer_config.json", {"pad_token": "[UNK]", "add_eos_token": True}),
        ("special_tokens_map.json", {"pad_token": "[UNK]"}),
        ("config.json", {"max_position_embeddings": 3, "pad_token_id": 3}),
    ],
)
def test_nothing_but_tokenizer_json_is_read(
    file: str, setting: dict[str, Any], folder: Path
) -> None:
    """Else a tokenizer.json that lacks something would pass verification, and be published."""
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    alone = tokenize(folder, ["A B C", "a"]).batch([0, 1], inputs)
    (folder / file).write_text(json.dumps(setting))
    beside = tokenize(folder, ["A B C", "a"]).batch([0, 1], inputs)
    assert {name: array.tolist() for name, array in alone.items()} == {
        name: array.tolist() for name, array in beside.items()
    }
    assert alone["input_ids"][0].tolist()[:5] == [1, 3, 3, 3, 2]  # no word has a capital


def test_an_input_that_no_tokenizer_gives_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="task_id"):
        tokenize(folder, ["a"]).batch([0], ["input_ids", "task_id"])


def test_a_missing_or_broken_tokenizer_is_a_source_error(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(SourceError, match="broken"):
        tokenize(folder, ["a"])
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"no tokenizer\.json"):
        tokenize(folder, ["a"])
