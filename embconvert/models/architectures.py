"""The sizes of an architecture, read from config.json by their usual names.

No architecture is named here, so that new ones of transformers take the same path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Synonyms in transformers' configurations (their `attribute_map`s).
_HIDDEN_SIZE = ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim")
_NUM_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "encoder_attention_heads")
_NUM_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers")
_MAX_POSITIONS = ("max_position_embeddings", "n_positions")

#: ONNX Runtime's fused attention operators.
FUSED_ATTENTION = (
    "Attention",
    "com.microsoft.Attention",
    "com.microsoft.QAttention",
    "com.microsoft.MultiHeadAttention",
    "com.microsoft.GroupQueryAttention",
    "com.microsoft.PackedAttention",
    "com.microsoft.DecoderMaskedMultiHeadAttention",
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of a transformer; None if config.json lacks them."""

    model_type: str
    hidden_size: int | None = None
    num_heads: int | None = None
    num_layers: int | None = None
    max_positions: int | None = None


def _positive_int(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def text_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a parsed config.json with the settings of the model that reads text.

    Models of several inputs have those in `text_config`, which may be part of another one.
    """
    for key in ("vlm_config", "text_config"):
        part = config.get(key)
        if isinstance(part, Mapping):
            config = {**config, **part}
    return config


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Reads a parsed config.json; raises ValueError without `model_type`."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ValueError("config.json has no model_type")
    sizes = text_settings(config)
    return Architecture(
        model_type=model_type,
        hidden_size=_positive_int(sizes, _HIDDEN_SIZE),
        num_heads=_positive_int(sizes, _NUM_HEADS),
        num_layers=_positive_int(sizes, _NUM_LAYERS),
        max_positions=_positive_int(sizes, _MAX_POSITIONS),
    )
