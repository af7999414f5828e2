"""How long a text may be, by what sentence-transformers goes by."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import SourceError
from embconvert.source.reading import SourceTokenizer


def reading(
    length: int | float | None = 128,
    *,
    text: dict[str, Any] | None = None,
    expansion: dict[str, Any] | None = None,
    pad_token_id: int | None = 0,
) -> tuple[SourceTokenizer, Any]:
    transformer = SimpleNamespace(
        processing_kwargs={} if text is None else {"text": text},
        query_expansion=expansion,
        query_length=None,
        document_length=180,
    )
    tokenizer = SimpleNamespace(
        pad_token_id=pad_token_id,
        eos_token="</s>",
        unk_token=None,
        num_special_tokens_to_add=lambda: 2,
    )

    class Model(list[Any]):
        max_seq_length = length

    model = Model([transformer])
    model.tokenizer = tokenizer  # type: ignore[attr-defined]
    return SourceTokenizer(model, ()), model


@pytest.mark.parametrize(
    ("length", "text", "found"),
    [
        (128, None, 128),
        (1e30, None, None),
        (None, None, None),
        (128, {"max_length": 32}, 32),
        (1e30, {"max_length": 32}, 32),
        (128, {"padding": True}, 128),
        (128, {"truncation": "longest_first"}, 128),
        (128, {"truncation": False, "max_length": 32}, None),
        (128, {"truncation": "do_not_truncate"}, None),
        (2, None, 2),
        (1, None, None),
        (0, None, None),
        (1, {"add_special_tokens": False}, 1),
    ],
)
def test_a_length_of_each_call_goes_before_the_models(
    length: float | None, text: dict[str, Any] | None, found: int | None
) -> None:
    assert reading(length, text=text)[0].max_seq_length == found


@pytest.mark.parametrize(
    ("text", "common", "found"),
    [
        ({"truncation": False}, {"truncation": True}, 128),
        ({"truncation": True}, {"truncation": False}, None),
        ({"max_length": 12}, {"max_length": 8}, 8),
        ({"max_length": 12}, {"padding": True}, 12),
    ],
)
def test_what_is_common_to_all_inputs_goes_before_what_is_said_of_texts(
    text: dict[str, Any], common: dict[str, Any], found: int | None
) -> None:
    ours, model = reading(text=text)
    model[0].processing_kwargs["common"] = common
    assert ours.max_seq_length == found


def test_what_cuts_queries_documents_and_calls_is_cut_too() -> None:
    ours, model = reading(512, text={"max_length": 400, "truncation": False})
    ours.cut_at(100)
    assert ours.max_seq_length == model.max_seq_length == 100
    assert model[0].processing_kwargs["text"] == {"max_length": 100, "truncation": True}
    assert model[0].document_length == 100
    assert model[0].query_length is None


def test_a_length_of_documents_alone_is_cut_and_a_shorter_one_stays() -> None:
    ours, model = reading(64, text={"max_length": 32})
    assert ours.longest == 180
    ours.cut_at(100)
    assert model[0].document_length == ours.longest == 100
    assert (ours.max_seq_length, model.max_seq_length) == (32, 64)
    assert reading(None)[0].longest is None


def test_a_length_that_cuts_nothing_becomes_that_of_the_positions() -> None:
    ours, model = reading(1)
    ours.cut_at(100)
    assert ours.max_seq_length == model.max_seq_length == 100


def test_queries_are_as_long_as_they_are_filled_up() -> None:
    assert reading(64, expansion={"length": 256})[0].longest == 256


def test_lengths_that_cut_nothing_do_not_cut_at_the_positions_either() -> None:
    ours, model = reading(512, text={"truncation": False})
    ours.cut_at(250)
    assert ours.max_seq_length == model[0].document_length == 250
    assert model[0].query_length is None


def test_queries_that_are_filled_up_beyond_the_positions_are_refused() -> None:
    ours, _ = reading(expansion={"length": 128})
    with pytest.raises(SourceError, match="padded to 128 tokens") as raised:
        ours.cut_at(64)
    assert "query_expansion" in raised.value.hint


def test_a_tokenizer_without_pad_token_is_refused_with_what_to_set() -> None:
    reading()[0].refuse_missing_pad_token()
    with pytest.raises(SourceError, match="no pad token") as raised:
        reading(pad_token_id=None)[0].refuse_missing_pad_token()
    assert '"</s>"' in raised.value.hint
    assert "tokenizer_config.json" in raised.value.hint


def test_a_pad_token_without_a_row_in_the_table_is_refused() -> None:
    reading(pad_token_id=399)[0].refuse_pad_token_beyond(400)
    reading(pad_token_id=400)[0].refuse_pad_token_beyond(None)
    with pytest.raises(SourceError, match="id 400, but the model's table has 400 rows") as raised:
        reading(pad_token_id=400)[0].refuse_pad_token_beyond(400)
    assert '"</s>"' in raised.value.hint
