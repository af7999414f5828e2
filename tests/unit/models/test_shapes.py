"""The sizes of batches."""

import pytest

from embconvert.models.shapes import CONVERSION_LENGTHS, CONVERSION_SHAPES, Shape, split_by_limit


@pytest.mark.parametrize(
    ("limit", "fitting"), [(None, [16, 64, 128]), (128, [16, 64, 128]), (100, [16, 64]), (8, [])]
)
def test_texts_that_a_model_truncates_are_left_out(limit: int | None, fitting: list[int]) -> None:
    inside, outside = split_by_limit(CONVERSION_SHAPES, limit)
    assert [shape.tokens for shape in inside] == fitting
    assert (*inside, *outside) == CONVERSION_SHAPES


def test_shapes_are_ordered_by_length_and_written_as_texts_by_tokens() -> None:
    assert CONVERSION_LENGTHS == "16/64/128"
    assert str(Shape(texts=8, tokens=128)) == "8x128"
    assert sorted([Shape(texts=1, tokens=64), Shape(texts=9, tokens=16)])[0].texts == 9
