"""Casting to half precision."""

import numpy as np
import onnx_ir as ir
import pytest
from onnxconverter_common.float16 import convert_np_to_float16

from embconvert.graph.half_precision import (
    TooLargeForHalf,
    fitting_exponent,
    half_weight,
    to_half,
)


@pytest.mark.parametrize("shape", [(0,), (3,), (700, 500), (2, 5, 40000)])
def test_halves_are_those_of_onnxconverter_common(shape: tuple[int, ...]) -> None:
    scales = 10.0 ** np.random.default_rng(0).uniform(-12, 3.99, shape)
    values = np.asarray(np.random.default_rng(1).choice([-1, 1], shape) * scales, np.float32)
    if values.size > 9:
        values.flat[:4] = [0, -0.0, np.inf, -np.inf]
    with pytest.warns() if values.size else pytest.MonkeyPatch.context():
        wanted = [convert_np_to_float16(array) for array in (values, values.T)]
    for array, theirs in zip((values, values.T), wanted, strict=True):
        np.testing.assert_array_equal(to_half(array), theirs)


def test_numbers_up_to_the_end_of_the_range_are_not_clipped() -> None:
    values = np.array([1.1e4, -2e4, 65504], np.float32)
    np.testing.assert_array_equal(to_half(values), values.astype(np.float16))


def test_what_half_precision_cannot_hold_is_not_cast() -> None:
    values = np.array([[0, 1], [-65600, 2]], np.float32)
    with pytest.raises(OverflowError):
        to_half(values)
    with pytest.raises(TooLargeForHalf, match="table"):
        half_weight("table", ir.tensor(values, name="table")).numpy()


@pytest.mark.parametrize(("largest", "exponent"), [(0, 0), (65504, 0), (-65505, 1), (3e5, 3)])
def test_a_weight_is_divided_as_far_as_it_must(largest: float, exponent: int) -> None:
    values = np.array([[0.25, 1], [largest, 2]], np.float32)
    weight = ir.tensor(values, name="table")
    assert fitting_exponent(weight) == exponent
    whole = half_weight("table", weight, exponent).numpy().astype(np.float32) * 2**exponent
    np.testing.assert_allclose(whole, values, rtol=2**-11)


@pytest.mark.parametrize("largest", [1e7, np.inf])
def test_a_weight_is_not_divided_until_little_is_left_of_it(largest: float) -> None:
    assert fitting_exponent(ir.tensor(np.array([[1, largest]], np.float32))) is None
