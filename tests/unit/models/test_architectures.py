"""What a config says of a model's shape."""

from typing import Any

import pytest

from embconvert.models.architectures import read_architecture


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"num_attention_heads": 12, "hidden_size": 8}, 12),
        ({"n_heads": 6}, 6),
        ({"text_config": {"num_attention_heads": 4}}, 4),
        ({"num_attention_heads": True}, None),
        ({}, None),
    ],
)
def test_head_counts_are_found_by_any_of_their_names(
    config: dict[str, Any], heads: int | None
) -> None:
    assert read_architecture({"model_type": "x", **config}).num_heads == heads


def test_a_config_without_a_model_type_is_refused() -> None:
    with pytest.raises(ValueError, match="model_type"):
        read_architecture({})
