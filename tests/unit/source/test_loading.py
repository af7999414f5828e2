"""A model without any of its weights is refused at once."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.source.loading import refuse_random


class MarianEncoder:
    def __init__(self, *names: str, is_encoder_decoder: bool = True) -> None:
        self._names = names
        self.config = SimpleNamespace(is_encoder_decoder=is_encoder_decoder)

    def named_parameters(self) -> list[tuple[str, None]]:
        return [(name, None) for name in self._names]


@pytest.mark.parametrize(
    ("is_encoder_decoder", "hint"),
    [(True, "get_encoder().save_pretrained(FOLDER)"), (False, "download the model again")],
)
def test_a_model_whose_weights_are_all_random_is_refused(
    is_encoder_decoder: bool, hint: str
) -> None:
    model = MarianEncoder("a", "b", is_encoder_decoder=is_encoder_decoder)
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_random(model, {"a", "b", "a_buffer"})
    assert "as MarianEncoder, and finds none of its weights" in refused.value.message
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    "model", [MarianEncoder("a", "b"), MarianEncoder(), None], ids=["one is there", "empty", "none"]
)
def test_others_are_not(model: Any) -> None:
    """Until the graph uses it, a missing weight is no error; static models have no inner model."""
    refuse_random(model, {"a"})
