"""Figures below their floor."""

from dataclasses import replace

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, Fidelity
from embconvert.fidelity.floors import Floor, floor_for, floor_near, shortfall
from embconvert.fidelity.kinds.embedding import compare_embeddings
from embconvert.fidelity.ranking import Neighbours
from embconvert.models.choices import Precision
from support.examples import fidelity


def test_a_shortfall_says_what_and_how_much() -> None:
    theirs = Embeddings(sentence=np.array([[1, 0], [1, 0]], np.float32), token_mean=None)
    ours = Embeddings(sentence=np.array([[1, 0], [1, 0.1]], np.float32), token_mean=None)
    good = compare_embeddings(theirs, ours, text_ids=["text 0", "text 1"], batch=1.0)
    assert shortfall(good, Floor(mean_cosine=0.9)) is None
    assert "mean cosine" in str(shortfall(good, Floor(mean_cosine=0.9999)))
    assert "text 1" in str(shortfall(good, Floor(mean_cosine=0.9, min_cosine=0.9999)))
    assert "largest" in str(shortfall(good, Floor(mean_cosine=0.9, relative_diff=0.01)))


def test_vectors_of_tokens_that_are_all_zero_are_a_shortfall() -> None:
    """Their cosine is exactly 0; the pooled output alone may be right."""
    right, zero = np.eye(4, dtype=np.float32), np.zeros((4, 4), np.float32)
    figures = compare_embeddings(
        Embeddings(sentence=right, token_mean=right),
        Embeddings(sentence=right, token_mean=zero),
        text_ids=list("abcd"), batch=1.0,
    )  # fmt: skip
    assert "cosine 0.00000" in str(shortfall(figures, floor_for(Precision.FLOAT32, None)))


def fidelity_of(*, rank: float = 1.0, kept: float = 1.0) -> Fidelity:
    neighbours = Neighbours(kept=kept, of=10, texts=297)
    return fidelity(1e-4, bin_number=9, rank_correlation=rank, neighbours=neighbours)


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_has_floors_of_the_ranking(precision: Precision) -> None:
    floor = replace(floor_for(precision, None), mean_cosine=0.9, min_cosine=0.9)
    assert shortfall(fidelity_of(), floor) is None
    assert "rank correlation 0.54800" in str(shortfall(fidelity_of(rank=0.548), floor))
    problem = str(shortfall(fidelity_of(kept=0.4), floor))
    assert problem.startswith("40.0% of the 10 nearest neighbours stay, less than ")


def test_only_its_own_option_lowers_the_floors_of_the_ranking() -> None:
    lost = fidelity_of(rank=0.548, kept=0.4)
    assert shortfall(lost, floor_for(Precision.QINT8, 0.1)) is not None
    assert shortfall(lost, floor_for(Precision.QINT8, 0.1, min_neighbours=0.5)) is not None
    assert shortfall(lost, floor_for(Precision.QINT8, None, min_neighbours=0.4)) is None
    assert floor_for(Precision.FLOAT32, None, min_neighbours=0.0).neighbours == 0.98


def test_bits_may_lose_more_of_the_ranking_but_not_of_the_vectors() -> None:
    usual = floor_for(Precision.QINT8, None)
    bits = floor_for(Precision.QINT8, None, is_bits=True)
    assert bits.of_cosines == usual.of_cosines
    assert (bits.rank_correlation, bits.neighbours) == pytest.approx((0.9, 0.4))
    assert floor_for(Precision.FLOAT32, None, is_bits=True) == floor_for(Precision.FLOAT32, None)
    asked = floor_for(Precision.QINT8, None, min_neighbours=0.8, is_bits=True)
    assert asked.neighbours == 0.8


def test_min_cosine_replaces_the_floor_of_quantized_graphs_only() -> None:
    assert floor_for(Precision.QINT8, 0.5).mean_cosine == 0.5
    assert floor_for(Precision.FLOAT32, 0.5).mean_cosine == 0.99999
    assert floor_for(Precision.QINT8, None).mean_cosine == 0.97
    # Not "below 1", to which fewer digits would round it.
    refused = shortfall(fidelity_of(), floor_for(Precision.QINT8, 0.99999999))
    assert str(refused).endswith("is below 0.99999999")


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.QINT8])
def test_figures_that_are_measured_again_may_differ_by_tolerances_only(
    precision: Precision,
) -> None:
    """Each figure has a floor: a graph may change in its output 0 or for a blank text alone."""
    before = fidelity(1e-4, bin_number=9, token_mean_cosine=0.97, blank_similarity=0.99)
    floor = floor_near(before, precision)
    assert shortfall(before, floor) is None
    slightly = replace(before, token_mean_cosine=0.97 - 1e-5, blank_similarity=0.99 - 1e-5)
    assert shortfall(slightly, floor) is None
    assert "0.50000" in str(shortfall(replace(before, token_mean_cosine=0.5), floor))
    assert "blank" in str(shortfall(replace(before, blank_similarity=0.5), floor))
    tokens = replace(before, lowest_token_cosine=0.9)
    worse = replace(before, lowest_token_cosine=0.5)
    assert "token" in str(shortfall(worse, floor_near(tokens, precision)))
