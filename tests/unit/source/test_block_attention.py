"""BigBird's attention in blocks becomes the full one that it changes to by itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.source.block_attention import attend_fully, tell_of_blocks


class Part:
    def __init__(self, attention_type: str) -> None:
        self.attention_type = attention_type
        self.config = SimpleNamespace(num_random_blocks=3, block_size=64)

    def set_attention_type(self, value: str) -> None:
        self.attention_type = value


def transformer(*parts: object) -> Any:
    return SimpleNamespace(auto_model=SimpleNamespace(modules=lambda: iter(parts)))


@pytest.mark.parametrize(("length", "is_told"), [(4096, True), (None, True), (704, False)])
def test_it_is_said_where_texts_are_long_enough(length: int | None, is_told: bool) -> None:
    part, said = Part("block_sparse"), list[str]()
    tokens = attend_fully(transformer(object(), part))
    tell_of_blocks(tokens, length, said.append)
    assert part.attention_type == "original_full"
    assert ["more than 704 tokens" in words for words in said] == [True] * is_told


def test_others_stay() -> None:
    said = list[str]()
    static = SimpleNamespace()  # has no transformer
    for other in (transformer(Part("original_full"), object()), static):
        tell_of_blocks(attend_fully(other), None, said.append)
    assert said == []
