"""Batches of an exact shape, made of real texts."""

import numpy as np
import pytest

from embconvert.fidelity.tokenization import Padding, TokenizedTexts
from embconvert.models.shapes import Shape
from embconvert.speed.batch import batch_of

INPUTS = ("input_ids", "attention_mask")


def texts(*lengths: int, **changes: object) -> TokenizedTexts:
    """Texts with the tokens 1, 10, 11, ..., 2."""
    ids = tuple(np.array([1, *range(10, 8 + n), 2])[-n:] for n in lengths if n)
    empty = (np.array([], np.int64),) * (len(lengths) - len(ids))
    values: dict[str, object] = {
        "ids": (*ids, *empty),
        "type_ids": tuple(np.zeros_like(text) for text in (*ids, *empty)),
    }
    return TokenizedTexts(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 16), (3, 7), (5, 40)])
def test_a_batch_has_the_shape_and_no_padding(shape: tuple[int, int]) -> None:
    padding = Padding(token_id=99, fixed_length=64, multiple_of=8)
    feeds = batch_of(
        texts(3, 12, 0, 30, padding=padding), Shape(texts=shape[0], tokens=shape[1]), INPUTS
    )
    assert set(feeds) == set(INPUTS)
    assert feeds["input_ids"].shape == shape
    assert feeds["attention_mask"].all()
    assert 99 not in feeds["input_ids"]


def test_a_text_is_cut_before_its_last_token() -> None:
    feeds = batch_of(texts(30), Shape(texts=1, tokens=5), INPUTS)
    assert feeds["input_ids"].tolist() == [[1, 10, 11, 12, 2]]


def test_a_text_is_repeated_before_its_last_token() -> None:
    feeds = batch_of(texts(4), Shape(texts=1, tokens=8), INPUTS)
    assert feeds["input_ids"].tolist() == [[1, 10, 11, 1, 10, 11, 1, 2]]


def test_texts_of_about_the_length_are_preferred_and_used_again_if_there_are_too_few() -> None:
    feeds = batch_of(texts(4, 9, 30), Shape(texts=4, tokens=8), INPUTS)
    assert feeds["input_ids"].shape == (4, 8)
    assert (feeds["input_ids"][:2, :-1] == [1, 10, 11, 12, 13, 14, 15]).all()


def test_an_input_that_no_tokenizer_provides_is_refused() -> None:
    with pytest.raises(ValueError, match="pixel_values"):
        batch_of(texts(4), Shape(texts=1, tokens=4), ["pixel_values"])
