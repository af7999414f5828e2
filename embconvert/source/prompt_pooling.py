"""Leaves prompts out of the pooling of a graph, as the source's library does.

With `include_prompt: false`, sentence-transformers does not pool the tokens of a prompt, which the
transformer reads all the same. It is told how many they are; a graph gets a text's tokens and one
mask. So the graph recognizes the model's prompts by the tokens with which a text begins. Any
program that puts a prompt before a text then gets the right embedding from the pooled output.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embconvert.errors import UnsupportedModelError
from embconvert.fidelity.texts import Prompted
from embconvert.foreign_text import json_string
from embconvert.models.prompts import Prompts
from embconvert.source.reading import SourceTokenizer

if TYPE_CHECKING:
    import torch

#: Texts of different beginnings, with which a prompt's last tokens may merge.
_TEXTS = ("a", "A text", "7", "(", "é", "中文", " x", "")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How texts with a prompt begin.

    Attributes:
        ids: The tokens that they have in common.
        left_out: Number of tokens that are not pooled; the last may depend on the text.
    """

    ids: tuple[int, ...]
    left_out: int


def beginnings_of(prompts: Prompts, reading: SourceTokenizer) -> tuple[Beginning, ...]:
    """Returns how texts with each prompt begin, the shortest first.

    Raises UnsupportedModelError if texts with a prompt begin like any others.
    """
    without = len(_common([text["input_ids"] for text in reading.tokens(_TEXTS)]))
    found = []
    for prompt in filter(None, prompts.distinct):
        tokens = reading.tokens([Prompted(text, prompt) for text in _TEXTS])
        left_out = reading.prompt_length(prompt)
        ids = _common([text["input_ids"] for text in tokens])[:left_out]
        if len(ids) <= without:
            raise UnsupportedModelError(
                f"the pooling leaves prompts out, and a graph cannot recognize the prompt "
                f"{json_string(prompt)} by its tokens",
                "remove it from config_sentence_transformers.json in a copy of the model",
            )
        found.append(Beginning(ids=tuple(ids), left_out=left_out))
    return tuple(sorted(found, key=lambda beginning: len(beginning.ids)))


def _common(texts: Sequence[Sequence[int]]) -> list[int]:
    """Returns the tokens with which all texts begin."""
    shared = []
    for ids in zip(*texts, strict=False):
        if len(set(ids)) > 1:
            break
        shared.append(ids[0])
    return shared


def without_prompts(
    mask: "torch.Tensor", ids: "torch.Tensor", beginnings: Sequence[Beginning]
) -> "torch.Tensor":
    """Returns the attention mask without the tokens of prompts; all are (batch, seq) int64.

    `beginnings` are those of texts with a prompt, the shortest first.
    """
    import torch

    longest = max(len(beginning.ids) for beginning in beginnings)
    # Padding may be on the left.
    start = mask.to(torch.int32).argmax(dim=1, keepdim=True)
    padded = torch.nn.functional.pad(ids, (0, longest), value=-1)
    heads = padded.gather(1, start + torch.arange(longest, device=ids.device))
    left_out = torch.zeros_like(start)
    for beginning in beginnings:
        wanted = torch.tensor(beginning.ids, device=ids.device)
        others = (heads[:, : len(beginning.ids)] != wanted).to(torch.int64).sum(1, keepdim=True)
        left_out = torch.where(others == 0, beginning.left_out, left_out)
    positions = torch.ones_like(ids).cumsum(1) - 1
    return mask * (positions >= start + left_out).to(mask.dtype)


@contextlib.contextmanager
def leaving_out_prompts(
    chain: Any, features: "Mapping[str, torch.Tensor]", beginnings: Sequence[Beginning]
) -> Iterator[dict[str, Any]]:
    """Makes a chain's pooling leave out the prompts that texts begin with; yields its inputs.

    Without beginnings, nothing is changed.
    """
    poolings = [module for module in chain if not getattr(module, "include_prompt", True)]
    if not beginnings:
        poolings = []

    def exclude(mask: "torch.Tensor", _: int) -> "torch.Tensor":
        return without_prompts(mask, features["input_ids"], beginnings)

    for pooling in poolings:
        pooling._exclude_prompt_from_mask = exclude
    try:
        # The pooling asks for the mask if it is told a length; which one, `exclude` decides.
        yield {**features, **({"prompt_length": 1} if poolings else {})}
    finally:
        for pooling in poolings:
            del pooling._exclude_prompt_from_mask
