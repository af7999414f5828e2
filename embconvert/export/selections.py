"""Attention that sees a selection of keys, which transformers makes in Python loops.

A trace would hold the loop's body once for each token of the traced texts.
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def _best_blocks(
    indexer: Any,
    hidden_states: "torch.Tensor",
    position_embeddings: "tuple[torch.Tensor, torch.Tensor]",
    attention_mask: "torch.Tensor",
    *_: Any,
    **__: Any,
) -> "torch.Tensor":
    """Returns which keys each token may see: those of the best blocks, and the incomplete one.

    Keys are counted without padding. Every `compress_ratio` of them are a block, whose score is
    that of the mean of its keys.

    Args:
        indexer: Its `token_budget` says how many keys are selected.
        hidden_states: (batch, seq, hidden).
        position_embeddings: Cosines and sines, (batch, seq, rotated) each.
        attention_mask: (batch, 1, seq, seq), bool or added to scores; the last token sees all that
            is no padding.

    Returns:
        (batch, 1, seq, seq) bool.
    """
    import torch

    ratio, best, width = indexer.compress_ratio, indexer.block_topk, indexer.index_head_dim
    turn = sys.modules[type(indexer).__module__].apply_rotary_pos_emb
    batch, seq, _hidden = hidden_states.shape
    cosines, sines = position_embeddings
    sizes = [indexer.index_n_heads * width, indexer.index_kv_heads * width]
    query, key = indexer.index_qk_proj(hidden_states).split(sizes, dim=-1)
    query = indexer.q_layernorm(query.reshape(batch, seq, -1, width))
    query = turn(query, cos=cosines, sin=sines, unsqueeze_dim=2)

    visible = attention_mask if attention_mask.dtype is torch.bool else attention_mask == 0
    visible = visible[:, 0]
    real = visible[:, -1]
    rank = real.long().cumsum(-1) - 1
    # As many more as are selected, so that there are enough to select from.
    blocks = torch.arange(seq // ratio + best, device=rank.device)
    members = (rank[:, None] // ratio == blocks[:, None]) & real[:, None]
    starts = (rank[:, None] == ratio * blocks[:, None]) & real[:, None]

    pooled = (members.float() @ key.float() / ratio).to(key.dtype)
    pooled = indexer.k_layernorm(pooled)[:, :, None]
    places = [starts.to(values.dtype) @ values for values in (cosines, sines)]
    pooled = turn(pooled, cos=places[0], sin=places[1], unsqueeze_dim=2)[:, :, 0]
    scores = query.transpose(1, 2).float() @ pooled.float().transpose(-1, -2)[:, None]
    scores = scores.relu().sum(1) / math.sqrt(width)

    complete = visible.sum(-1, keepdim=True) // ratio
    is_complete = blocks < complete
    scores = scores.masked_fill(is_complete.logical_not(), float("-inf"))
    chosen = torch.zeros_like(scores).scatter(-1, scores.topk(best, dim=-1).indices, 1.0)
    selected = (chosen * is_complete) @ members.float() > 0.5
    incomplete = (rank[:, None] >= ratio * complete) & visible
    return (selected | incomplete)[:, None]


#: What replaces methods of transformers, by the names of their classes and their own.
SELECTING: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("Qwen4ExpTextQSAIndexer", "forward"): _best_blocks,
}
