"""Texts that are too short for a model that pools tokens, as funnel, canine and deepseek_v4 do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# What configurations call the pooling of tokens.
_POOLING = ("block_sizes", "downsampling_rate")
# As many tokens become one, by kind of layer. A text with fewer goes another way, which a trace
# does not have; padding behind a text changes nothing, because these models are causal.
_WINDOWS = "compress_rates"
_MOST_TOKENS = 64
_PER_TOKEN = ("input_ids", "attention_mask", "token_type_ids")


def fill_short_texts(
    transformer: Any, run: Callable[[int], object], warn: Callable[[str], None], *, pad: int
) -> None:
    """Lets a sentence-transformers Transformer read batches of short texts; others stay.

    Such a model fails at a batch whose texts all have fewer tokens than it pools. With a longer
    text in the batch they are padded, and read; so they are padded as if there were one.

    Args:
        run: Runs the model on one text of so many tokens.
        warn: Is told when the model fails at short texts.
        pad: The id of the pad token.
    """
    model = getattr(transformer, "auto_model", None)
    config = getattr(model, "config", None)
    windows = getattr(config, _WINDOWS, None)
    if windows:
        _fill(model, max(windows.values()), pad)
    if not any(getattr(config, name, None) for name in _POOLING):
        return
    fewest = next((n for n in range(1, _MOST_TOKENS + 1) if _succeeds(run, n)), 1)
    if fewest == 1:
        return
    _fill(model, fewest, pad)
    warn(
        f"sentence-transformers fails at batches of fewer than {fewest} tokens with this model; "
        "the graphs pad them to so many"
    )


def _fill(model: Any, fewest: int, pad: int) -> None:
    """Lets a model pad batches to so many tokens."""
    reader: Any = getattr(model, "base_model", model)
    forward = reader.forward

    def filled(*args: Any, **inputs: Any) -> Any:
        if args or "input_ids" not in inputs:
            return forward(*args, **inputs)
        tokens = inputs["input_ids"].shape[1]
        found = forward(**inputs | _filled(inputs, fewest - tokens, pad))
        found.last_hidden_state = found.last_hidden_state[:, :tokens]
        return found

    reader.forward = filled


def _succeeds(run: Callable[[int], object], tokens: int) -> bool:
    import torch

    try:
        with torch.no_grad():
            run(tokens)
    except (RuntimeError, IndexError, ValueError):
        return False
    return True


def _filled(inputs: dict[str, Any], missing: Any, pad: int) -> "dict[str, torch.Tensor]":
    """Returns the inputs of each token with places of padding behind them.

    Args:
        missing: How many, if any; a tensor while the model is traced.
    """
    import torch

    count = torch.clamp(torch.as_tensor(missing), min=0)
    given = {name: inputs[name] for name in _PER_TOKEN if inputs.get(name) is not None}
    return {
        name: torch.cat(
            (value, value.new_zeros(value.shape[0], count) + (pad if name == "input_ids" else 0)),
            dim=1,
        )
        for name, value in given.items()
    }
