"""How many tokens a fixed shape must have."""

import pytest

from embconvert.fidelity.texts import Item, Items, Prompted, Query, is_blank_id, verification_texts
from embconvert.models.kinds import Reading
from embconvert.models.shapes import Shape
from embconvert.pipeline.short_shapes import least_tokens, too_short


def numbered(items: list[Item]) -> Items:
    return Items(ids=tuple(f"text {n}" for n in range(len(items))), items=tuple(items))


def test_so_many_texts_must_fit() -> None:
    items = numbered(["a"] * 40)
    lengths = [*range(40, 0, -1)]
    assert least_tokens(items, lengths, "", 16) == 16
    assert least_tokens(items, lengths, "", 1) == 1


def test_blank_texts_and_those_without_tokens_do_not_count() -> None:
    blank = next(text_id for text_id in verification_texts().ids if is_blank_id(text_id))
    items = Items(ids=(blank, "a", "b"), items=("", "a", "b"))
    assert least_tokens(items, [2, 0, 9], "", 1) == 9


def test_the_usual_prompt_must_fit_but_not_every_other() -> None:
    items = numbered([*(Prompted("a", "query: ") for _ in range(20)), Prompted("a", "long ")])
    assert least_tokens(items, [7] * 20 + [50], "query: ", 16) == 7
    assert least_tokens(items, [7] * 20 + [50], "long ", 16) == 50


def test_a_query_and_a_document_must_fit() -> None:
    items = numbered([*["a"] * 20, *map(Query, "abc")])
    assert least_tokens(items, [4] * 20 + [32, 32, 33], "", 16) == 32
    assert least_tokens(items, [40] * 20 + [32, 32, 33], "", 1) == 40


def test_fewer_texts_than_must_fit_decide_by_the_shortest() -> None:
    assert least_tokens(numbered(["a", "b"]), [5, 3], "", 16) == 3
    assert least_tokens(numbered([]), [], "", 16) == 0


@pytest.mark.parametrize(
    ("reading", "words"), [(Reading.PAIR, "too few pairs"), (Reading.TEXT, "too few texts")]
)
def test_the_error_says_how_many_tokens_are_enough(reading: Reading, words: str) -> None:
    error = too_short(Shape(texts=2, tokens=8), 14, reading)
    assert "--shape 2x8 is too short" in error.message
    assert words in error.message
    assert error.hint == "give at least --shape 2x14"
