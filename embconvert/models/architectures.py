"""What must be known of an architecture, read from its config.json by the field's synonyms.

Data, not branches: no architecture is named here, so one that transformers adds tomorrow goes
through the same path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The names by which transformers' configurations call the same thing (their `attribute_map`s).
_HIDDEN_SIZE = ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim")
_NUM_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "encoder_attention_heads")
_NUM_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers")
_MAX_POSITIONS = ("max_position_embeddings", "n_positions")

#: What ONNX Runtime calls an attention that it has fused.
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
    """The figures of a transformer that graph optimization needs.

    Attributes:
        model_type: transformers' name of the architecture.
        hidden_size: Width of a token vector; None when the config names none.
        num_heads: Attention heads of a layer; None when the config names none.
        num_layers: Transformer layers; None when the config names none.
        max_positions: Positions that the model knows; None when unlimited or not named.
    """

    model_type: str
    hidden_size: int | None
    num_heads: int | None
    num_layers: int | None
    max_positions: int | None


def _positive_int(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Reads the figures out of a parsed config.json.

    Args:
        config: The parsed file; a multi-modal model keeps its text model under `text_config`.

    Raises:
        ValueError: There is no model_type.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ValueError("config.json has no model_type")
    text_config = config.get("text_config")
    figures = config if not isinstance(text_config, Mapping) else {**config, **text_config}
    return Architecture(
        model_type=model_type,
        hidden_size=_positive_int(figures, _HIDDEN_SIZE),
        num_heads=_positive_int(figures, _NUM_HEADS),
        num_layers=_positive_int(figures, _NUM_LAYERS),
        max_positions=_positive_int(figures, _MAX_POSITIONS),
    )
