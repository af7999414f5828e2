"""Texts that a model which pools tokens cannot read alone are read as beside a longer one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from embconvert.errors import SourceError
from embconvert.source.short_texts import fill_short_texts


class Pooled(torch.nn.Module):  # type: ignore[misc]
    """Fails at fewer than three tokens; gives each token's number."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(**settings)
        self.given: list[dict[str, torch.Tensor]] = []

    def forward(self, input_ids: torch.Tensor, **inputs: Any) -> SimpleNamespace:
        inputs["input_ids"] = input_ids
        self.given.append(inputs)
        if inputs["input_ids"].shape[1] < 3:
            raise RuntimeError("Invalid computed output size")
        return SimpleNamespace(last_hidden_state=inputs["input_ids"])


def filled(model: Pooled) -> list[str]:
    def run(tokens: int) -> None:
        ones = torch.ones(1, tokens, dtype=torch.int64)
        model(input_ids=ones, attention_mask=ones)

    said: list[str] = []
    fill_short_texts(SimpleNamespace(auto_model=model), run, said.append, pad=7)
    model.given.clear()
    return said


@pytest.mark.parametrize(("tokens", "places"), [(1, 3), (2, 3), (3, 3), (5, 5)])
def test_a_short_text_is_filled_up_behind_its_mask(tokens: int, places: int) -> None:
    model = Pooled(model_type="canine")
    said = filled(model)
    assert ["fewer than 3 tokens" in words for words in said] == [True]
    ids = torch.arange(1, 2 * tokens + 1).reshape(2, tokens)
    found = model(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True)
    assert torch.equal(found.last_hidden_state, ids)
    (given,) = model.given
    assert given["return_dict"]
    assert torch.equal(
        given["input_ids"], torch.nn.functional.pad(ids, (0, places - tokens), value=7)
    )
    assert given["attention_mask"].sum(1).tolist() == [tokens, tokens]
    assert given["attention_mask"].shape == (2, places)


def test_heads_may_give_the_tokens_by_their_place() -> None:
    model = Pooled(model_type="canine")
    filled(model)
    ids = torch.ones(1, 2, dtype=torch.int64)
    found = model(ids, attention_mask=ids)
    assert torch.equal(found.last_hidden_state, ids)
    assert model.given[0]["input_ids"].shape == (1, 3)


def test_texts_shorter_than_a_window_are_filled_up_though_the_model_reads_them() -> None:
    model = Pooled(model_type="deepseek_v4", compress_rates={"some": 4, "others": 6})
    assert ["up to 6 tokens" in words for words in filled(model)] == [True]
    ids = torch.ones(1, 5, dtype=torch.int64)
    assert model(input_ids=ids, attention_mask=ids).last_hidden_state.shape == (1, 5)
    assert model.given[0]["input_ids"].shape == (1, 6)


@pytest.mark.parametrize(
    "rates", [None, [4], {}, {"some": 0}, {"some": 4.5}, {"some": True}, {"some": 10**7}]
)
def test_a_window_that_is_no_number_of_tokens_is_an_error(rates: object) -> None:
    with pytest.raises(SourceError, match="compress_rates in config"):
        filled(Pooled(model_type="deepseek_v4", compress_rates=rates))


def test_settings_of_other_architectures_pad_nothing() -> None:
    model = Pooled(model_type="bert", compress_rates={"some": 6}, downsampling_rate=3)
    assert filled(model) == []
    ids = torch.ones(1, 5, dtype=torch.int64)
    assert model(input_ids=ids).last_hidden_state.shape == (1, 5)
    assert model.given[0]["input_ids"].shape == (1, 5)


def test_a_model_that_pools_no_tokens_is_not_run() -> None:
    model = Pooled()
    assert filled(model) == []
    ids = torch.ones(1, 2, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="output size"):
        model(input_ids=ids, attention_mask=ids)
