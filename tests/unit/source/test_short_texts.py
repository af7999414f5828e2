"""Texts that a model which pools tokens cannot read alone are read as beside a longer one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from embconvert.source.short_texts import fill_short_texts


class Pooled(torch.nn.Module):  # type: ignore[misc]
    """Fails at fewer than three tokens; gives each token's number."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(**settings)
        self.given: list[dict[str, torch.Tensor]] = []

    def forward(self, **inputs: Any) -> SimpleNamespace:
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
    model = Pooled(downsampling_rate=3)
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


def test_texts_shorter_than_a_window_are_filled_up_though_the_model_reads_them() -> None:
    model = Pooled(compress_rates={"some": 4, "others": 6})
    assert filled(model) == []
    ids = torch.ones(1, 5, dtype=torch.int64)
    assert model(input_ids=ids, attention_mask=ids).last_hidden_state.shape == (1, 5)
    assert model.given[0]["input_ids"].shape == (1, 6)


def test_a_model_that_pools_no_tokens_is_not_run() -> None:
    model = Pooled()
    assert filled(model) == []
    ids = torch.ones(1, 2, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="output size"):
        model(input_ids=ids, attention_mask=ids)
