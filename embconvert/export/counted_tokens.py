"""Methods of transformers that count tokens by Python's numbers, as tensors.

A trace holds Python's numbers as constants, which are right for the traced length only. These
methods return the same as those that they replace while a model is traced.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def counting_by_tensors(model: "torch.nn.Module") -> Iterator[None]:
    """Replaces methods inside the block, in the files of transformers that a model comes from."""
    own = "transformers.models."
    names = {name for p in model.modules() if (name := type(p).__module__).startswith(own)}
    replaced: list[tuple[type, str, Any]] = []
    try:
        for file in (vars(sys.modules[name]) for name in names if name in sys.modules):
            for (owner, method), ours in _METHODS.items():
                found = file.get(owner)
                if isinstance(found, type) and method in vars(found):
                    replaced.append((found, method, vars(found)[method]))
                    setattr(found, method, ours)
        yield
    finally:
        for owner_class, method, theirs in replaced:
            setattr(owner_class, method, theirs)


def _seen_by_cpmant(
    model: Any,
    input_ids: "torch.Tensor",
    span: "torch.Tensor",
    context: "torch.Tensor",
    length: "torch.Tensor",
) -> "torch.Tensor":
    """Returns which keys each token sees, (batch, seq, seq) bool.

    Args:
        model: It puts `prompt_length` tokens of its own before a text.
        input_ids: (batch, seq), with these tokens.
        span: (batch, seq); tokens of different spans do not see each other.
        context: (batch, seq); 1 for a token that all others see.
        length: (batch); how many tokens of each text count, from its end.
    """
    import torch

    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    earlier = (places[None, :] <= places[:, None])[None]
    everybody = context.bool()
    seen = everybody[:, None, :] | (everybody[:, :, None].logical_not() & earlier)
    seen = seen & (span[:, None, :] == span[:, :, None])
    real = (torch.flip(places, (0,))[None, :] < length[:, None]) | (
        places[None, :] < model.prompt_length
    )
    return real[:, :, None] & real[:, None, :] & seen


_METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("CpmAntModel", "_prepare_attention_mask"): _seen_by_cpmant,
}
