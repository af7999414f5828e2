"""The module that is traced."""

from contextlib import nullcontext

import pytest
import torch

from embconvert.source.traced_module import graph_inputs, make_traced

CPU = torch.device("cpu")


def features(tokens: int) -> dict[str, object]:
    ids = torch.arange(2 * tokens).reshape(2, tokens)
    return {
        "own_ids": ids + 2, "attention_mask": ids + 1, "input_ids": ids, "labels": ["a", "b"],
        "lengths": torch.tensor([3, tokens]),
    }  # fmt: skip


def test_a_graph_reads_what_has_a_value_for_each_token() -> None:
    assert list(graph_inputs(features(7), CPU)) == ["input_ids", "attention_mask", "own_ids"]


@pytest.mark.parametrize(("tokens", "kept"), [(12, 11), (13, 13), (2, 2), (1, 1)])
def test_the_length_is_a_prime_number(tokens: int, kept: int) -> None:
    found = graph_inputs(features(tokens), CPU)
    assert {tuple(value.shape) for value in found.values()} == {(2, kept)}


def test_the_module_gives_the_values_of_its_chain_and_is_not_in_training() -> None:
    class Doubles(torch.nn.Module):  # type: ignore[misc]
        def forward(self, named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"doubled": 2 * named["input_ids"] + named["attention_mask"]}

    chain = torch.nn.Sequential(Doubles(), torch.nn.Dropout(1.0))
    chain[1].forward = lambda found: found
    traced = make_traced(
        chain, ("attention_mask", "input_ids"), lambda f: (f["doubled"],), nullcontext, ()
    )
    (made,) = traced(torch.tensor([1]), torch.tensor([5]))
    assert made.tolist() == [11]
    assert not any(module.training for module in traced.modules())
