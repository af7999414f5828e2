"""Embeddings of integers are read and compared as search engines do."""

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.kinds.embedding import compare_codes
from embconvert.fidelity.vector_codes import as_searched, bit_cosines, decoded, ranges_of, rounded
from embconvert.models.choices import OutputPrecision
from embconvert.models.vector_code import VectorCode

INT8 = VectorCode(
    precision=OutputPrecision.INT8, dimension=3, lows=(0.0, -1.0, 5.0), highs=(255.0, 1.0, 5.0)
)
UINT8 = VectorCode(
    precision=OutputPrecision.UINT8, dimension=3, lows=(0.0, -1.0, 5.0), highs=(255.0, 1.0, 5.0)
)
BINARY = VectorCode(precision=OutputPrecision.BINARY, dimension=10)
UBINARY = VectorCode(precision=OutputPrecision.UBINARY, dimension=10)


def test_a_component_that_varies_by_rounding_alone_is_constant() -> None:
    """all-MiniLM-L6-v2 has some, whose noise would become integers from -128 to 127."""
    vectors = np.array([[0.5, 1e-34, 0.1], [-0.5, 3e-33, 0.1], [0.1, 2e-9, 0.1]], np.float32)
    lows, highs = ranges_of(vectors)
    np.testing.assert_allclose(lows, [-0.5, 1e-34, 0.1])
    np.testing.assert_allclose(highs, [0.5, 1e-34, 0.1])
    code = VectorCode(precision=OutputPrecision.INT8, dimension=3, lows=lows, highs=highs)
    noisy = vectors + np.array([0, 1e-6, 0], np.float32)
    np.testing.assert_array_equal(rounded(noisy, code)[:, 1], rounded(vectors, code)[:, 1])


def test_integers_stand_for_the_middle_of_their_step() -> None:
    step = 2 / 255
    wanted = np.array([[0.5, -1 + 0.5 * step, 5], [255.5, 1 + 0.5 * step, 5]], np.float32)
    codes = np.array([[-128, -128, -128], [127, 127, -128]], np.int8)
    np.testing.assert_allclose(decoded(codes, INT8), wanted, rtol=1e-6)
    unsigned = (codes.astype(np.int16) + 128).astype(np.uint8)
    np.testing.assert_allclose(decoded(unsigned, UINT8), wanted, rtol=1e-6)
    for code in (INT8, UINT8):
        np.testing.assert_allclose(as_searched(wanted, code), codes, atol=1e-4)


def test_what_is_outside_of_the_ranges_becomes_the_nearest() -> None:
    vectors = np.array([[-9, 0, 5], [999, 0, 6]], np.float32)
    kept = as_searched(rounded(vectors, INT8), INT8)
    np.testing.assert_allclose(kept, [[-128, -1, -128], [127, -1, -127]], atol=1e-4)


@pytest.mark.parametrize(("code", "codes"), [
    (BINARY, np.array([[-128 + 0b10100000, -128 + 0b01000000]], np.int8)),
    (UBINARY, np.array([[0b10100000, 0b01000000]], np.uint8)),
])  # fmt: skip
def test_bits_are_signs_and_those_that_fill_the_last_byte_are_none(
    code: VectorCode, codes: np.ndarray
) -> None:
    signs = decoded(codes, code)
    assert signs.tolist() == [[1, -1, 1, -1, -1, -1, -1, -1, -1, 1]]
    np.testing.assert_array_equal(rounded(signs * 0.1, code), signs)


def test_other_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 of size 3, not int8 of size 3"):
        decoded(np.zeros((1, 3), np.uint8), INT8)
    with pytest.raises(ValueError, match="of size 10, not uint8 of size 2"):
        decoded(np.zeros((1, 10), np.uint8), UBINARY)


def test_bits_that_differ_tell_the_angle_unless_they_are_rounding() -> None:
    theirs = np.array([[1, -1, 1, 1e-7], [1, 1, 1, 1], [1, 1, 1, 1]], np.float32)
    ours = np.array([[1, -1, 1, -1], [1, 1, 1, -1], [-1, -1, -1, -1]], np.float32)
    np.testing.assert_allclose(bit_cosines(theirs, ours), [1, np.cos(np.pi / 4), -1], atol=1e-12)


@pytest.mark.parametrize("precision", [OutputPrecision.INT8, OutputPrecision.UBINARY])
def test_equal_integers_have_equal_figures_and_others_worse_ones(
    precision: OutputPrecision,
) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 64), np.float32)
    code = VectorCode(precision=precision, dimension=64)
    if precision.is_calibrated:
        lows, highs = vectors.min(axis=0).tolist(), vectors.max(axis=0).tolist()
        code = VectorCode(precision=precision, dimension=64, lows=tuple(lows), highs=tuple(highs))
    means = []
    for noise in (0.0, 0.1, 0.5):
        changed = vectors + noise * vectors[::-1]
        figures = compare_codes(
            Embeddings(sentence=vectors, token_mean=vectors),
            Embeddings(sentence=rounded(changed, code), token_mean=vectors),
            code=code,
            text_ids=[f"text {n}" for n in range(12)],
            batch=1.0,
        )
        means.append(figures.similarity.mean)
        assert figures.token_mean_cosine == pytest.approx(1.0)
        assert figures.neighbours is not None
        if not noise:
            assert figures.relative_diff < 1e-6
            assert figures.rank_correlation == pytest.approx(1.0)
            assert figures.neighbours.kept == 1.0
    assert means[0] == pytest.approx(1.0)
    # Of vectors with a tenth of another the cosine is 0.995, with half of another 0.894.
    assert means[1:] == pytest.approx([0.995, 0.894], abs=0.03)
