"""What plots show."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from embconvert.fidelity.figures import HISTOGRAM_EDGES
from embconvert.models.choices import Precision
from embconvert.models.shapes import BENCH_SHAPES
from embconvert.reporting.plots import (
    losses_with_intervals,
    nines,
    nines_axis,
    speeds_by_shape,
    used_bins,
)
from embconvert.reporting.summary import ManifestSummary
from support.examples import fidelity, graph, published


@pytest.mark.parametrize(
    ("cosine", "expected"), [(0.9, 1), (0.99, 2), (0.5, 0.30103), (1.0, 7), (1 - 1e-12, 7)]
)
def test_cosines_are_drawn_by_their_nines(cosine: float, expected: float) -> None:
    assert nines(cosine) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([7.0], ["0.999999", "same"]),
        ([2.3, 6.1], ["0.99", "0.999", "0.9999", "0.99999", "0.999999", "same"]),
        ([0.4], ["0", "0.9"]),
        ([2.0], ["0.9", "0.99"]),
    ],
)
def test_an_axis_of_nines_has_round_ends_and_no_label_twice(
    values: list[float], labels: list[str]
) -> None:
    assert [entry["label"] for entry in nines_axis(values)] == labels


@pytest.mark.parametrize("first", [0, 1, 3, 20, 28])
def test_a_distribution_shows_all_of_its_bins(tmp_path: Path, first: int) -> None:
    figures = fidelity(0.01, bin_number=first)
    record = graph(tmp_path, "model", 100, fidelity=figures, precision=Precision.QINT8)
    shown = used_bins(ManifestSummary(published(tmp_path, record)).graphs)
    assert {first, first + 1} <= set(shown) <= set(range(len(HISTOGRAM_EDGES) + 1))


@pytest.mark.parametrize("scale", [0.001, 0.16, 1.0, 90.0])
def test_losses_of_any_size_have_a_few_round_labels_and_0(scale: float) -> None:
    svg = losses_with_intervals({"a": (-0.7 * scale, 0.1 * scale, 0.93 * scale)}, "nDCG@10")
    words = [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]
    labels = [word for word in words if word.replace("-", "").replace(".", "").isdigit()]
    assert "0" in labels
    assert 3 <= len(labels) <= 8
    assert max(map(len, labels)) <= 7


def test_the_names_of_many_batches_are_turned_so_that_they_have_room() -> None:
    usual = {str(shape): (1.5, 0.1) for shape in BENCH_SHAPES}
    assert "rotate(90" not in speeds_by_shape({"model_opt1": usual}, list(usual))
    many = {f"{texts}x{tokens}": (1.5, 0.1) for texts in (1, 8, 32) for tokens in (16, 64, 128)}
    assert speeds_by_shape({"model_opt1": many}, list(many)).count("rotate(90") == len(many)
