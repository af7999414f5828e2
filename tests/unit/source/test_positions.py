"""Positions that a configuration tells."""

from typing import Any

import pytest

from embconvert.source.positions import positions_of_biases


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "mpt", "max_seq_len": 64}, 64),
        ({"model_type": "mpt"}, 2048),  # what transformers takes
        ({"model_type": "mpt", "max_seq_len": True}, None),
        ({"model_type": "mpt", "max_seq_len": -1}, None),
        ({"model_type": "bert", "max_seq_len": 5, "": 5}, None),
        ({"": 5}, None),
    ],
)
def test_only_an_architecture_with_biases_is_limited_by_them(
    config: dict[str, Any], tokens: int | None
) -> None:
    assert positions_of_biases(config) == tokens
