"""A pooling whose settings name another size than its token vectors have."""

from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Pooling

from embconvert.source.pooling_size import correct_pooling_size

SIZE = 8


class Tokens(torch.nn.Module):  # type: ignore[misc]
    """Gives token vectors, and names their size as a transformer's settings do."""

    def __init__(self, named: int | None) -> None:
        super().__init__()
        self.named = named
        self.runs = 0

    def get_embedding_dimension(self) -> int:
        if self.named is None:
            raise ValueError("unknown")
        return self.named

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        self.runs += 1
        return {**features, "token_embeddings": torch.ones(2, 3, SIZE)}


def corrected(named: int | None, pooling: Pooling) -> tuple[Any, int, list[str]]:
    """The pooling afterwards, how often the module before it ran, and what was said."""
    tokens, said = Tokens(named), list[str]()
    chain = torch.nn.Sequential(tokens, pooling)
    correct_pooling_size(chain, dict, said.append)
    return chain[1], tokens.runs, said


def test_a_wrong_size_is_corrected_and_told() -> None:
    pooling, _, said = corrected(SIZE, Pooling(768, ("cls", "mean"), include_prompt=False))
    assert (pooling.embedding_dimension, pooling.pooling_output_dimension) == (SIZE, 2 * SIZE)
    assert (tuple(pooling.pooling_mode), pooling.include_prompt) == (("cls", "mean"), False)
    assert said == ["the settings of the pooling name 768 numbers per token, but there are 8"]


@pytest.mark.parametrize(("named", "runs"), [(SIZE, 0), (16, 1), (None, 0)])
def test_a_right_size_stays_and_the_model_is_run_only_if_in_doubt(
    named: int | None, runs: int
) -> None:
    own = Pooling(SIZE, "mean")
    assert corrected(named, own) == (own, runs, [])
