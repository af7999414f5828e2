"""Which products keep eight bits."""

import numpy as np
import pytest

from embconvert.quantize.blocks import BlockFormat, dequantize_blocks, quantize_blocks
from embconvert.quantize.mixed import affordable_share, most_moved, relative_error
from embconvert.quantize.moments import Moments


def test_the_relative_error_is_that_of_the_results() -> None:
    random, form = np.random.default_rng(0), BlockFormat(bits=4, block_size=32)
    weights = random.standard_normal((40, 96), dtype=np.float32)
    activations = random.standard_normal((500, 96), dtype=np.float32)
    moments = Moments((activations.T @ activations / np.float32(500),))
    difference = dequantize_blocks(quantize_blocks(weights, form), form, 96) - weights
    moved, results = (np.square(activations @ w.T).sum() for w in (difference, weights))
    assert relative_error(weights, form, moments) == pytest.approx(moved / results, rel=1e-3)


def test_the_products_that_move_farthest_are_chosen_up_to_a_share_of_the_weights() -> None:
    errors = {"near": 0.1, "far": 0.3, "farther": 0.4, "big": 0.5}
    sizes = {"near": 10, "far": 10, "farther": 10, "big": 70}
    assert most_moved(errors, sizes, 0.2) == {"far", "farther"}
    assert most_moved(errors, sizes, 0.8) == {"big", "farther"}


def test_as_many_weights_get_more_bits_as_fit_into_a_fifth_of_the_size() -> None:
    share = affordable_share(few=50, more=90, tables=50, float32=640)
    assert 50 + 50 + share * (90 - 50) < 640 / 5
    assert share == pytest.approx(0.62, abs=0.01)


def test_a_third_of_the_weights_get_more_bits_even_if_the_file_grows() -> None:
    assert affordable_share(few=50, more=90, tables=200, float32=640) == pytest.approx(1 / 3)


def test_beside_a_huge_table_all_products_may_get_more_bits() -> None:
    assert affordable_share(few=50, more=90, tables=1000, float32=7000) == 1
