"""Positions that a configuration tells."""

from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.source.positions import positions_of_biases, refuse_relative_positions


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


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_positions_that_transformers_5_leaves_out_are_refused(kind: str) -> None:
    asked = {"position_embedding_type": kind}
    for config in ({"model_type": "bert", **asked}, {"text_config": asked}):
        with pytest.raises(UnsupportedModelError, match=rf"relative positions .*{kind}"):
            refuse_relative_positions(config)
    refuse_relative_positions({**asked, "auto_map": {"AutoModel": "modeling.Model"}})


@pytest.mark.parametrize("kind", [None, "absolute", "rotary"])
def test_those_that_it_computes_are_not(kind: str | None) -> None:
    refuse_relative_positions({"model_type": "esm", "position_embedding_type": kind})
