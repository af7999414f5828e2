"""Token logits are pooled as a program does that gets them from a graph."""

import numpy as np
import pytest

from embconvert.fidelity.token_logits import COMPARED_ENTRIES, pooled, read_logits, sampled
from embconvert.models.splade import Activation, Splade, Strategy

#: Two tokens; the last entry is active for neither.
LOGITS = np.array([[1.0, -3.0, 0.5, -1.0], [2.0, 4.0, 0.0, -2.0]], np.float32)
USUAL = Splade(strategy=Strategy.MAX, activation=Activation.RELU)


def test_the_largest_weight_of_a_text_counts() -> None:
    np.testing.assert_allclose(pooled(LOGITS, USUAL), np.log1p(np.array([2, 4, 0.5, 0])), rtol=1e-6)


def test_weights_may_be_added_up_and_be_logarithms_of_logarithms() -> None:
    rules = Splade(strategy=Strategy.SUM, activation=Activation.LOG1P_RELU)
    wanted = np.log1p(np.log1p(np.array([[1, 0, 0.5, 0], [2, 4, 0, 0]]))).sum(axis=0)
    np.testing.assert_allclose(pooled(LOGITS, rules), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("most", "active"), [(1, [1]), (2, [0, 1]), (4, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_only_the_largest_weights_are_left(most: int, active: list[int]) -> None:
    rules = Splade(strategy=Strategy.MAX, activation=Activation.RELU, max_active_dims=most)
    assert np.flatnonzero(pooled(LOGITS, rules)).tolist() == active


def test_only_this_pooling_is_what_programs_apply_without_the_models_modules() -> None:
    assert USUAL.is_usual
    assert not Splade(strategy=Strategy.SUM, activation=Activation.RELU).is_usual
    assert not Splade(strategy=Strategy.MAX, activation=Activation.LOG1P_RELU).is_usual
    cut = Splade(strategy=Strategy.MAX, activation=Activation.RELU, max_active_dims=2)
    assert not cut.is_usual


def test_padding_counts_on_neither_side() -> None:
    padding = np.full((1, 4), 99, np.float32)
    batch = np.stack([np.vstack([LOGITS, padding]), np.vstack([padding, LOGITS])])
    mask = np.array([[True, True, False], [False, True, True]])
    read = read_logits(batch, mask, USUAL)
    assert read.sentence is not None
    assert read.tokens is not None
    for vector, tokens in zip(read.sentence, read.tokens, strict=True):
        np.testing.assert_array_equal(vector, pooled(LOGITS, USUAL))
        np.testing.assert_array_equal(tokens, LOGITS)


def test_of_a_large_vocabulary_a_sample_from_its_first_to_its_last_entry_is_kept() -> None:
    logits = np.arange(100_000, dtype=np.float32)[None]
    kept = sampled(logits)
    assert kept.shape == (1, COMPARED_ENTRIES)
    assert (kept[0, 0], kept[0, -1]) == (0, 99_999)
    assert np.diff(kept).max() < 200
