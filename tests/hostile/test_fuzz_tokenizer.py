"""Whatever a tokenizer.json says, it is refused, or reads texts with ids that the model has."""

import copy
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embconvert.errors import EmbconvertError
from embconvert.fidelity.tokenization import tokenize
from embconvert.source.tokenizer_file import check_tokenizer_file
from support import zoo

EXAMPLES = int(os.environ.get("EMBCONVERT_FUZZ_EXAMPLES", "150"))
TEXTS = (
    "", "a", "A short text.", "the other one, and others", "ÄÖÜ ß é", "\u65e5\u672c\u8a9e", "½ ﷺ ﬁ",
    "\U0001f469\u200d\U0001f680", "<s></s><mask>", "x" * 300, " \t\n\r ", "\x00\x01\ufffd",
)  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1000), st.sampled_from([2**32 - 1, 2**63, 10**19]),
    st.floats(allow_nan=False), st.text(max_size=5), st.just([]), st.just({}),
    st.sampled_from([
        {"type": "Replace", "pattern": {"Regex": "a*"}, "content": "aa"},
        {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////9hAA=="},
        {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0], ["b", -2.0]]},
        {"type": "WordLevel", "vocab": {"a": 5, "<unk>": 3}, "unk_token": "<unk>"},
    ]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value; of long lists and objects the first few."""
    yield path
    if isinstance(value, dict):
        for key in list(value)[:12]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:6]):
            yield from places(item, (*path, number))


def change(value: Any, path: tuple[Any, ...], how: str, other: Any) -> None:
    """Replaces, removes or repeats what is at a place."""
    for key in path[:-1]:
        value = value[key]
    if how == "replace":
        value[path[-1]] = other
    elif how == "remove":
        del value[path[-1]]
    elif isinstance(value, list):
        value.insert(path[-1], copy.deepcopy(value[path[-1]]))
    else:
        value[str(other)[:20]] = copy.deepcopy(value[path[-1]])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokenizer")
    zoo.save_tokenizer(folder)
    return json.loads((folder / "tokenizer.json").read_text())


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize="EMBCONVERT_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_changed_tokenizers(good: Any, data: st.DataObject) -> None:
    value = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from([path for path in places(value) if path]))
        how = data.draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        # What is drawn is changed by the next change.
        change(value, where, how, copy.deepcopy(data.draw(ODD)))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tokenizer.json").write_text(json.dumps(value))
        try:
            check_tokenizer_file(folder / "tokenizer.json", zoo.VOCAB_SIZE)
            tokens = tokenize(folder, TEXTS, most=64, rows=zoo.VOCAB_SIZE)
        except EmbconvertError as error:
            assert "tokenizer.json" in error.message
            return
        _agrees(folder, value)
    assert all(0 <= number < zoo.VOCAB_SIZE for ids in tokens.ids for number in ids)
    assert max(tokens.lengths) <= 64


def _agrees(folder: Path, value: Any) -> None:
    """The library gives added tokens the ids that the file says."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for token in value.get("added_tokens") or []:
        if token["content"]:
            assert tokenizer.token_to_id(token["content"]) == token["id"]
