"""Texts that are too short for a model that pools tokens, as funnel, canine and deepseek_v4 do."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError

if TYPE_CHECKING:
    import torch

# Architectures that pool tokens, and fail at fewer.
_POOLING = ("canine", "funnel")
# Architectures in which so many tokens become one, and the setting that says it by kind of layer. A
# text with fewer goes another way, which a trace does not have; padding behind a text changes
# nothing, because these models are causal.
_WINDOWS = {"deepseek_v4": "compress_rates"}
_LARGEST_WINDOW = 4096
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
        warn: Is told how far short texts are padded.
        pad: The id of the pad token.

    Raises:
        SourceError: The configuration names no usable number of tokens.
    """
    model = getattr(transformer, "auto_model", None)
    config = getattr(model, "config", None)
    model_type = getattr(config, "model_type", None)
    if model_type in _WINDOWS:
        largest = _largest_window(getattr(config, _WINDOWS[model_type], None), _WINDOWS[model_type])
        _fill(model, largest, pad)
        warn(
            f"this model merges up to {largest} tokens into one: the graphs pad batches of shorter "
            f"texts to {largest} tokens, which changes no embedding"
        )
    if model_type not in _POOLING:
        return
    fewest = next((n for n in range(1, _MOST_TOKENS + 1) if _succeeds(run, n)), 1)
    if fewest == 1:
        return
    _fill(model, fewest, pad)
    if _succeeds(run, 1):
        warn(
            f"sentence-transformers fails with this model at batches of fewer than {fewest} "
            f"tokens: the graphs pad them to {fewest} tokens"
        )


def _largest_window(windows: object, setting: str) -> int:
    values = list(windows.values()) if isinstance(windows, Mapping) else []
    if not values or not all(type(v) is int and 0 < v <= _LARGEST_WINDOW for v in values):
        raise SourceError(
            f"{setting} in config.json is not a number of tokens from 1 to {_LARGEST_WINDOW} for "
            "each kind of layer",
            "correct it in a copy of the model",
        )
    largest: int = max(values)
    return largest


def _fill(model: Any, fewest: int, pad: int) -> None:
    """Lets a model pad batches to so many tokens."""
    reader: Any = getattr(model, "base_model", model)
    forward = reader.forward

    # Heads give the tokens by their place.
    def filled(input_ids: Any = None, *others: Any, **inputs: Any) -> Any:
        if others or input_ids is None:
            return forward(input_ids, *others, **inputs)
        inputs["input_ids"] = input_ids
        tokens = input_ids.shape[1]
        found = forward(**inputs | _filled(inputs, fewest - tokens, pad))
        found.last_hidden_state = found.last_hidden_state[:, :tokens]
        return found

    reader.forward = filled


def _succeeds(run: Callable[[int], object], tokens: int) -> bool:
    import torch

    try:
        with torch.no_grad():
            run(tokens)
    except torch.OutOfMemoryError:
        raise
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
