"""Which tokens of a text are its prompt's."""

import pytest

from embconvert.source.prompt_pooling import Beginning, without_prompts

SHORT = Beginning(ids=(1, 7), left_out=3)
LONG = Beginning(ids=(1, 7, 8, 9), left_out=5)


@pytest.mark.parametrize(("ids", "kept"), [
    ([1, 7, 5, 6, 2], [0, 0, 0, 1, 1]),  # a token that merges with the text is left out, too
    ([1, 7, 8, 9, 5, 6, 2], [0, 0, 0, 0, 0, 1, 1]),  # the longest beginning counts
    ([1, 5, 7, 6, 2], [1, 1, 1, 1, 1]),  # not at the beginning
    ([1, 7], [0, 0]),  # cut
    ([1], [1]),
])  # fmt: skip
@pytest.mark.parametrize("padding", [(0, 0), (0, 4), (4, 0)])
def test_the_tokens_of_a_prompt_are_left_out(
    ids: list[int], kept: list[int], padding: tuple[int, int]
) -> None:
    import torch

    before, after = padding
    mask = torch.tensor([[0] * before + [1] * len(ids) + [0] * after])
    padded = torch.tensor([[0] * before + ids + [0] * after])
    found = without_prompts(mask, padded, (SHORT, LONG))
    assert found.tolist() == [[0] * before + kept + [0] * after]
