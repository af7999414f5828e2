"""Attention in blocks, as BigBird has it: what it gives depends on what was read before."""

from collections.abc import Callable
from typing import Any

_BLOCKS, _FULL = "block_sparse", "original_full"


def attend_fully(transformer: Any) -> int | None:
    """Settles a sentence-transformers Transformer on full attention; others stay.

    Blocks need a long batch. At the first shorter one, transformers changes to full attention for
    good: a long text then has another vector than before. Graphs have what does not change. Source:
    transformers.models.big_bird.modeling_big_bird.BigBirdModel.forward (5.24).

    Returns:
        The most tokens for which blocks are never used; None if the model has no such attention.
    """
    model = getattr(transformer, "auto_model", None)
    parts = list(model.modules()) if model is not None else []
    changed = [
        part
        for part in parts
        if getattr(part, "attention_type", None) == _BLOCKS and hasattr(part, "set_attention_type")
    ]
    for part in changed:
        part.set_attention_type(_FULL)
    if not changed:
        return None
    config = changed[0].config
    return int((5 + 2 * config.num_random_blocks) * config.block_size)


def tell_of_blocks(tokens: int | None, length: int | None, warn: Callable[[str], None]) -> None:
    """Warns if texts can be long enough to be read in blocks.

    Args:
        tokens: As of attend_fully().
        length: Tokens after which a text is cut; None when it is not.
    """
    if tokens is not None and (length is None or length > tokens):
        warn(
            f"the graphs attend to the whole text; for a batch of more than {tokens} tokens, "
            "sentence-transformers attends to blocks of it until it has read a shorter one"
        )
