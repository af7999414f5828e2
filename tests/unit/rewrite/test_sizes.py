"""Sizes compute as the numbers that they stand for do."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.rewrite.sizes import Size, product

_AXES = {"batch": 3, "seq": 7}
_LEAVES = st.one_of(st.integers(-5, 9), st.sampled_from(sorted(_AXES))).map(Size.of)
SIZES = st.recursive(
    _LEAVES,
    lambda inner: st.tuples(
        st.sampled_from([operator.add, operator.sub, operator.mul]), inner, inner
    ).map(lambda t: t[0](t[1], t[2])),
    max_leaves=6,
)


def value(size: Size) -> int:
    total = 0
    for names, factor in size.terms:
        term = factor
        for name in names:
            term *= _AXES[name]
        total += term
    return total


@given(SIZES, SIZES, st.sampled_from([operator.add, operator.sub, operator.mul]))
def test_arithmetic_is_that_of_numbers(a: Size, b: Size, of: Callable[[Any, Any], Any]) -> None:
    assert value(of(a, b)) == of(value(a), value(b))


@given(SIZES)
def test_what_is_positive_is_above_zero(a: Size) -> None:
    assert not a.positive or value(a) > 0


@given(SIZES, st.sampled_from([Size.of(2), Size.of("seq"), Size.of("seq") * 3]))
def test_a_product_divides_without_rest(a: Size, by: Size) -> None:
    assert (a * by).divided_by(by) == a
    assert (a * by) // by == a


@pytest.mark.parametrize(("a", "b"), [("seq", 2), (7, "seq"), ("batch", "seq")])
def test_a_division_with_a_rest_is_a_size_of_its_own(a: Any, b: Any) -> None:
    quotient = Size.of(a) // Size.of(b)
    assert quotient.number is None
    assert quotient == Size.of(a) // Size.of(b)
    assert quotient not in (Size.of(a), Size.of(b))


def test_sizes_tell_numbers() -> None:
    assert (Size.of("seq") - Size.of("seq")).number == 0
    assert (Size.of("seq") + 1).number is None
    assert product([Size.of(2), Size.of(3)]).number == 6
    assert str(Size.of("seq") * 2 + 1) == "1+2*seq"
