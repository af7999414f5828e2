"""When texts of a sample settle whether a graph is good."""

from dataclasses import replace

import pytest

from embconvert.fidelity.floors import floor_for
from embconvert.fidelity.ranking import Neighbours
from embconvert.fidelity.settling import unsettled
from embconvert.models.choices import Precision
from embconvert.models.kinds import Kind
from support.examples import fidelity, similarity

QINT8 = floor_for(Precision.QINT8, None)


@pytest.mark.parametrize("precision", list(Precision))
def test_a_graph_that_differs_by_rounding_is_settled(precision: Precision) -> None:
    assert unsettled(fidelity(1e-12, bin_number=0), floor_for(precision, None)) is None


def test_few_neighbours_settle_that_nothing_but_rounding_is_lost() -> None:
    few = Neighbours(kept=1.0, of=3, texts=20)
    floor = floor_for(Precision.FLOAT32, None)
    same = replace(fidelity(1e-12, bin_number=0), neighbours=few)
    assert unsettled(same, floor) is None
    other = replace(fidelity(2e-7, bin_number=2), neighbours=few)
    assert unsettled(other, floor) == "share of kept neighbours"


def test_what_is_far_below_its_floor_is_settled_too() -> None:
    assert unsettled(fidelity(0.5, bin_number=20), QINT8) is None


def test_a_mean_near_its_floor_is_settled_by_its_error() -> None:
    figures = fidelity(0.001, bin_number=10)
    for mean, error, is_settled in (
        (0.98, 0.001, True), (0.98, 0.005, False), (0.96, 0.001, True), (0.969, 0.001, False),
    ):  # fmt: skip
        near = replace(figures.similarity, mean=mean, error=error)
        found = unsettled(replace(figures, similarity=near), QINT8)
        assert found == (None if is_settled else "mean cosine"), (mean, error)


def test_a_lowest_text_of_a_sample_must_have_lost_less_than_half_of_what_it_may() -> None:
    figures = fidelity(0.001, bin_number=10)
    for lowest, is_settled in ((0.91, True), (0.89, False), (0.79, True)):
        near = replace(figures.similarity, min=lowest)
        found = unsettled(replace(figures, similarity=near), QINT8)
        assert found == (None if is_settled else "lowest cosine"), lowest


@pytest.mark.parametrize(
    ("changes", "figure"),
    [
        ({"rank_correlation": 0.96}, "rank correlation"),
        ({"neighbours": Neighbours(kept=0.72, of=10, texts=80)}, "share of kept neighbours"),
        ({"neighbours": Neighbours(kept=0.84, of=10, texts=80)}, "share of kept neighbours"),
        ({"token_mean_cosine": 0.85}, "lowest cosine of output 0"),
        ({"blank_similarity": 0.85}, "cosine of a blank text"),
    ],
)
def test_each_figure_must_be_clear_of_its_floor(changes: dict[str, object], figure: str) -> None:
    assert unsettled(replace(fidelity(0.001, bin_number=10), **changes), QINT8) == figure  # type: ignore[arg-type]


def test_a_difference_counts_where_there_is_a_limit() -> None:
    figures = replace(fidelity(1e-12, bin_number=0), relative_diff=0.008)
    assert unsettled(figures, floor_for(Precision.FLOAT32, None)) == "largest difference"
    assert unsettled(figures, QINT8) is None


def test_heads_are_settled_as_well() -> None:
    close = replace(similarity(0.001), min=0.85)
    head = replace(fidelity(0.001, bin_number=10), similarity=close)
    figures = replace(fidelity(1e-9, bin_number=0), heads={Kind.LATE_INTERACTION: head})
    assert unsettled(figures, QINT8) == f"lowest cosine of the {Kind.LATE_INTERACTION} head"
