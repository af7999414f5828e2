"""How arrays lie in memory."""

import numpy as np
import pytest

from embconvert.graph.layout import contiguous


@pytest.mark.parametrize("shape", [(0, 3), (7,), (100, 2100), (1024, 512), (2, 3, 4)])
def test_a_transposed_array_is_laid_out_anew(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape, np.float32).T
    copy = contiguous(array)
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, array)
