"""The module that is traced: from a graph's inputs to its outputs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from embconvert.source.prompt_pooling import Beginning, leaving_out_prompts

if TYPE_CHECKING:
    import torch

    Features = dict[str, torch.Tensor]

# The order of a graph's inputs; other outputs of the tokenizer follow.
_INPUT_ORDER = ("input_ids", "attention_mask", "token_type_ids")


def graph_inputs(features: Mapping[str, Any], device: "torch.device") -> "Features":
    """Returns what a graph reads of tokenized texts: name to (texts, seq) int64, in its order."""
    import torch

    shape = features["input_ids"].shape
    # A prime length, so that the trace shows padding to a multiple of a window.
    length = _largest_prime(shape[1])
    named = {
        name: value[:, :length].to(device)
        for name, value in features.items()
        if isinstance(value, torch.Tensor) and value.shape == shape
    }
    first = {name: named.pop(name) for name in _INPUT_ORDER if name in named}
    return first | named


def _largest_prime(limit: int) -> int:
    """Returns the largest prime up to limit, or limit if there is none."""
    primes = (n for n in range(limit, 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1)))
    return next(primes, limit)


def make_traced(
    chain: "torch.nn.Module",
    names: Sequence[str],
    values: "Callable[[Features], tuple[torch.Tensor, ...]]",
    while_traced: Callable[[], "AbstractContextManager[None]"],
    beginnings: Sequence[Beginning],
) -> "torch.nn.Module":
    """Returns a module from inputs to the values that become a graph's outputs.

    Args:
        chain: The source's modules, which take and return features by name.
        names: Of the inputs, in order.
        values: What the outputs are made of the chain's features.
        while_traced: Makes the context in which the chain runs.
        beginnings: Of texts whose prompts the pooling leaves out; empty if it leaves out none.
    """
    import torch

    class Traced(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.source = chain

        def forward(self, *inputs: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
            named = dict(zip(names, inputs, strict=True))
            with while_traced(), leaving_out_prompts(chain, named, beginnings) as features:
                return values(self.source(features))

    # The exporter restores the wrapper's training flag recursively; without eval(), dropout
    # would be active afterwards.
    return Traced().eval()
