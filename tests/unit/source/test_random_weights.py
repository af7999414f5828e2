"""A model without any of its weights is refused at once."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.source.random_weights import refuse_random


class MarianEncoder:
    def __init__(self, *names: str, is_encoder_decoder: bool = True) -> None:
        self._weights = {name: object() for name in names}
        self.config = SimpleNamespace(is_encoder_decoder=is_encoder_decoder)

    def named_parameters(self) -> list[tuple[str, object]]:
        return list(self._weights.items())


class ProphetNetEncoder(MarianEncoder):
    def get_input_embeddings(self) -> SimpleNamespace:
        return SimpleNamespace(weight=self._weights["words"])


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


def test_a_model_of_which_only_the_embeddings_of_tokens_are_there_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_random(ProphetNetEncoder("words", "a", "b"), {"a", "b"})
    assert "finds none of its weights except the embeddings of tokens" in refused.value.message


def test_names_that_begin_with_the_name_of_a_wrapper_are_told() -> None:
    model = MarianEncoder("layer.0.weight", "layer.1.weight", is_encoder_decoder=False)
    stored = iter(["step", "0.auto_model.layer.0.weight"])
    with pytest.raises(UnsupportedModelError) as refused:
        refuse_random(model, {"layer.0.weight", "layer.1.weight"}, stored)
    assert "none of its weights" in refused.value.message
    assert "begin with '0.auto_model.'" in refused.value.message
    assert "remove '0.auto_model.'" in str(refused.value.hint)


def test_a_model_of_nothing_but_embeddings_of_tokens_is_not_if_they_are_there() -> None:
    refuse_random(ProphetNetEncoder("words"), {"a"})
    with pytest.raises(UnsupportedModelError):
        refuse_random(ProphetNetEncoder("words"), {"words"})


@pytest.mark.parametrize(
    "model", [MarianEncoder("a", "b"), MarianEncoder(), None], ids=["one is there", "empty", "none"]
)
def test_others_are_not(model: Any) -> None:
    """Until the graph uses it, a missing weight is no error; static models have no inner model."""
    refuse_random(model, {"a"})
