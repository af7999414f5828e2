"""Names beside a plot never overlap, and equal lines do not hide each other."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from embconvert.fidelity.figures import LayerCosine
from embconvert.manifest import ArtifactRecord
from embconvert.models.choices import Precision
from embconvert.reporting.plot_marks import LINE_HEIGHT, spread
from embconvert.reporting.plots import layer_drift, size_against_fidelity
from embconvert.reporting.summary import Graph, ManifestSummary
from support.examples import fidelity, graph, published

SVG = "{http://www.w3.org/2000/svg}"


def made(folder: Path, precision: Precision, size: int, loss: float) -> ArtifactRecord:
    return graph(
        folder, f"model_{precision}", size, precision=precision,
        fidelity=fidelity(loss, bin_number=17), made_from="1" * 64,
    )  # fmt: skip


def crowd(folder: Path) -> list[Graph]:
    """Every precision, all of them at nearly one place."""
    folder.mkdir(exist_ok=True)
    records = [
        made(folder, precision, 20_000 + 100 * number, 1e-3 * (1 + number / 50))
        for number, precision in enumerate(Precision)
    ]
    return ManifestSummary(published(folder, *records)).graphs


def names(svg: str) -> list[tuple[str, float, float]]:
    """The names in a plot, with their places."""
    return [
        (str(text.text), float(text.get("x", "")), float(text.get("y", "")))
        for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if text.get("class") == "label"
    ]


def test_each_file_is_named_once_and_no_name_lies_on_another(tmp_path: Path) -> None:
    graphs = crowd(tmp_path)
    svg = size_against_fidelity(graphs, graphs[:1], lambda g: g.label)
    found = names(svg)
    assert Counter(name for name, _, _ in found) == Counter(g.label for g in graphs)
    assert len({x for _, x, _ in found}) == 1
    heights = [y for _, _, y in found]
    assert all(below - above >= LINE_HEIGHT for above, below in pairwise(heights))
    whole = ElementTree.fromstring(svg).get("viewBox", "").split()
    assert 0 < heights[0] < heights[-1] < float(whole[3])
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    assert sum("leader" in path.get("class", "").split() for path in paths) == len(found)


def test_a_plot_is_as_high_as_its_names_need(tmp_path: Path) -> None:
    graphs = [g for n in range(5) for g in crowd(tmp_path / str(n))]
    numbers = {graph: str(n) for n, graph in enumerate(graphs)}
    svg = size_against_fidelity(graphs, graphs[:1], lambda g: numbers[g])
    height = float(ElementTree.fromstring(svg).get("viewBox", "").split()[3])
    assert len(names(svg)) == 5 * len(Precision)
    assert height > 5 * len(Precision) * LINE_HEIGHT


def test_files_of_several_folders_at_one_place_have_one_name(tmp_path: Path) -> None:
    graphs = [*crowd(tmp_path / "a"), *crowd(tmp_path / "b")]
    found = names(size_against_fidelity(graphs, graphs[:1], lambda g: g.label))
    assert len(found) == len(Precision)


@pytest.mark.parametrize(
    "wanted", [[10.0], [10.0, 11.0, 12.0], [0.0, 0.0, 0.0], [100.0, 100.0, 100.0], [0.0, 50.0]]
)
def test_names_are_near_their_dots_and_apart(wanted: list[float]) -> None:
    places = spread(wanted, 100.0)
    assert all(below - above >= LINE_HEIGHT for above, below in pairwise(places))
    assert places[0] >= LINE_HEIGHT / 2
    assert places[-1] <= 100 - LINE_HEIGHT / 2


def test_equal_lines_are_dashes_of_both_colours(tmp_path: Path) -> None:
    def with_layers(record: ArtifactRecord, losses: list[float]) -> ArtifactRecord:
        layers = tuple(LayerCosine(layer=n, cosine=1 - loss) for n, loss in enumerate(losses))
        assert record.fidelity is not None
        return replace(record, fidelity=replace(record.fidelity, layers=layers))

    precisions = (Precision.QINT8, Precision.QUINT8, Precision.Q4)
    losses = ([1e-4, 2e-4, 3e-4], [1e-4, 2e-4, 9e-3], [1e-2, 2e-2, 3e-2])
    records = [
        with_layers(made(tmp_path, precision, 100, 1e-3), loss)
        for precision, loss in zip(precisions, losses, strict=True)
    ]
    svg = layer_drift(ManifestSummary(published(tmp_path, *records)).graphs)
    dashed = {
        group.get("class"): path
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        for path in group.findall(f"{SVG}path")
        if path.get("stroke-dasharray")
    }
    assert list(dashed) == ["series c0", "series c1"]
    one, other = dashed.values()
    assert one.get("d") == other.get("d")
    assert str(one.get("d")).count("L") == 1, "they part after the first segment"
    assert one.get("stroke-dashoffset") != other.get("stroke-dashoffset")
