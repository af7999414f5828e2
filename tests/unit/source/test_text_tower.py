"""A text tower gives its token vectors, too, and reads texts as its architecture needs."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.source.text_tower import settle_text_tower


def tower(model_type: str, read: tuple[str, ...] = ("input_ids",), **text: Any) -> Any:
    def get_text_features(input_ids: str, attention_mask: str = "none") -> SimpleNamespace:
        return SimpleNamespace(
            last_hidden_state=f"tokens of {input_ids}", pooler_output=f"with mask {attention_mask}"
        )

    part = SimpleNamespace(max_position_embeddings=64)
    return SimpleNamespace(
        module_output_name="sentence_embedding",
        modality_config={"text": {"method": "get_text_features"}},
        config=SimpleNamespace(model_type=model_type, get_text_config=lambda: part),
        model=SimpleNamespace(get_text_features=get_text_features),
        tokenizer=SimpleNamespace(model_input_names=list(read)),
        processing_kwargs={"text": text} if text else {},
        max_seq_length=10**30,
    )


@pytest.mark.parametrize(
    ("read", "mask"), [(("input_ids",), "none"), (("input_ids", "attention_mask"), "1")]
)
def test_it_gets_what_its_tokenizer_gives_and_nothing_else(
    read: tuple[str, ...], mask: str
) -> None:
    transformer = tower("clip", read)
    settle_text_tower(transformer, pytest.fail)
    found = transformer.forward({"input_ids": "ids", "attention_mask": "1", "token_type_ids": "0"})
    assert found["token_embeddings"] == "tokens of ids"
    assert found["sentence_embedding"] == f"with mask {mask}"
    assert found["attention_mask"] == "1"  # for whoever counts tokens
    assert transformer.processing_kwargs == {}


@pytest.mark.parametrize("model_type", ["siglip", "siglip2"])
def test_texts_are_filled_up_where_the_last_place_is_taken(model_type: str) -> None:
    warnings: list[str] = []
    transformer = tower(model_type)
    settle_text_tower(transformer, warnings.append)
    assert transformer.processing_kwargs["text"]["padding"] == "max_length"
    assert transformer.max_seq_length == 64
    assert "padded to 64 tokens" in warnings[0]


def test_vectors_that_depend_on_the_batch_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="another vector in each batch"):
        settle_text_tower(tower("siglip", padding=True), pytest.fail)


def test_other_models_stay_as_they_are() -> None:
    transformer = SimpleNamespace(module_output_name="token_embeddings")
    settle_text_tower(transformer, pytest.fail)
    settle_text_tower(SimpleNamespace(), pytest.fail)
    assert not hasattr(transformer, "forward")
