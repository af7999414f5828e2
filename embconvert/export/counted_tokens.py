"""Methods of transformers that count tokens by Python's numbers, as tensors.

A trace holds Python's numbers as constants, which are right for the traced length only. These
methods return the same as those that they replace while a model is traced.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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


def _places_of_funnel(
    structure: Any, seq_len: "torch.Tensor", dtype: "torch.dtype", device: "torch.device"
) -> Any:
    """Returns the vectors of the distances between tokens, for each block of layers.

    Tokens are pooled between blocks: their places remain an arithmetic sequence, so that the first
    one, the step and their number say all. Vectors are (distances, hidden). With factorized
    attention, they are those of the places, (seq, hidden), which the model pools itself.
    """
    import torch

    config = structure.config
    half = torch.arange(config.d_model // 2, device=device).to(dtype) / (config.d_model // 2)
    frequencies = 1 / 10000**half

    def turns(places: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        angles = places.to(dtype)[:, None] * frequencies
        return angles.sin(), angles.cos()

    if config.attention_type == "factorized":
        sine, cosine = turns(torch.arange(seq_len, device=device))
        pairs = ((sine, sine), (cosine, cosine), (cosine, sine), (-sine, cosine))
        return tuple(torch.cat(pair, dim=-1) for pair in pairs)

    def vectors(largest: Any, step: int, count: Any) -> "torch.Tensor":
        return torch.cat(turns(largest - step * torch.arange(count, device=device)), dim=-1)

    first, step, count = 0, 1, seq_len
    found: list[list[torch.Tensor | None]] = []
    for block in range(config.num_blocks):
        pooling = None
        if block:
            before, last = first, first + step * (count - 1)
            if config.separate_cls:
                # The first token stays by itself; of the others, the last may be left out.
                first = 1 - 2**block
                count = 1 + (count - (1 if config.truncate_seq else 0)) // 2
            else:
                count = (count + 1) // 2
            largest = first - before + 2 * count * step
            pooling = vectors(largest, step, (largest - first + last) // step + 1)
            step *= 2
        found.append([vectors(step * count, step, 2 * count), pooling])
    return found


#: What replaces methods of transformers, by the names of their classes and their own.
COUNTING: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("CpmAntModel", "_prepare_attention_mask"): _seen_by_cpmant,
    ("FunnelAttentionStructure", "get_position_embeds"): _places_of_funnel,
}
