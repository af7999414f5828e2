"""What a model's files say of its own code."""

from typing import Any

import pytest

from embconvert.source.distrust import code_of_tokenizer


@pytest.mark.parametrize(
    ("auto_map", "code"),
    [
        (None, None),
        ({}, None),
        ({"AutoConfig": "configuration.Config"}, None),
        ({"AutoTokenizer": ["tok.Slow", "tok.Fast"]}, "tok.Fast"),
        ({"AutoTokenizer": ["tok.Slow", None]}, "tok.Slow"),
        ({"AutoTokenizer": "tok.Slow"}, "tok.Slow"),
        (["tok.Slow", None], "tok.Slow"),
        ({"AutoTokenizer": {"no": "name"}}, None),
    ],
)
def test_the_code_of_a_tokenizer_is_named(auto_map: Any, code: str | None) -> None:
    assert code_of_tokenizer({"auto_map": auto_map}) == code
