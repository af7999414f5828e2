"""The page of a conversion, and the page that compares several."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from examples import fidelity, graph, published

from embconvert.errors import SourceError, UsageError
from embconvert.fidelity.figures import HISTOGRAM_EDGES
from embconvert.fidelity.floors import Floor
from embconvert.folder.published import published_manifest
from embconvert.manifest import EmbeddingRecord, Manifest
from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.models.choices import PoolingMode, Precision
from embconvert.models.values import Fusion, KeptNode, SourceCard
from embconvert.plan.search import Budget, Candidate, search_record
from embconvert.reporting.compare import compare, comparison_page
from embconvert.reporting.page import report_page
from embconvert.reporting.plots import nines, nines_axis, used_bins
from embconvert.reporting.report import report
from embconvert.reporting.summary import Conversion
from embconvert.request.records import CompareRequest, ReportRequest


class Page(HTMLParser):
    """The parts of a page that tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(folder: Path, manifest: Manifest) -> str:
    return report_page(manifest, folder, name="example-model")


def test_the_page_says_what_matters_at_a_glance(tmp_path: Path) -> None:
    text = Page(page(tmp_path, published(tmp_path))).text
    assert "Verified: every file gives the source's embeddings" in text
    for words in (
        "org/example-model", "23.0 kB", "0.98900", "2.10×", "1234567890" * 4,
        "AMD EPYC, 2 CPUs", "torch 2.13.0", "embconvert all --model_id org/example-model",
        "Texts by their cosine", "Neighbours don't matter", "multilingual-ko-001",
    ):  # fmt: skip
        assert words in text


def test_it_needs_nothing_from_outside(tmp_path: Path) -> None:
    content = page(tmp_path, published(tmp_path))
    for tag, attributes in Page(content).tags:
        for name in ("src", "href", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, value)
        assert tag not in ("iframe", "object", "embed", "link") or attributes.get("rel") == "icon"
    assert "@import" not in content
    assert "url(" not in content


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    assert page(tmp_path, manifest) == page(tmp_path, manifest)
    assert "pygal" not in page(tmp_path, manifest)  # it would write the day


def test_plots_tell_what_they_show_in_words_too(tmp_path: Path) -> None:
    content = page(tmp_path, published(tmp_path))
    plots = re.findall(r"<svg[^>]*class=\"plot\".*?</svg>", content, re.DOTALL)
    assert len(plots) == 4  # size, layers, and a distribution for each lossy precision
    for plot in plots:
        svg = ElementTree.fromstring(plot)
        assert svg.get("role") == "img"
        assert len(svg.get("aria-label", "")) > 20
    assert "QInt8 0.0 MB, mean cosine 0.98900" in plots[0]


def test_layers_are_named_by_what_they_lose_not_by_how_far_they_are(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    quantized = Conversion(manifest).graphs[2]
    assert quantized.fidelity is not None
    cosines = [0.99, 0.985, 0.97, 0.969, 0.98, 0.98]
    layers = tuple(
        replace(layer, cosine=cosine)
        for layer, cosine in zip(quantized.fidelity.layers, cosines, strict=True)
    )
    record = replace(quantized.record, fidelity=replace(quantized.fidelity, layers=layers))
    worst = Conversion(replace(manifest, artifacts=(record,))).graphs[0].worst_layers
    assert [(layer.layer, round(loss, 4)) for layer, loss in worst] == [
        (2, 0.015), (0, 0.01), (1, 0.005),
    ]  # fmt: skip


def test_what_was_not_fused_is_told_with_its_reason(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    fusion = Fusion(kind="attention", fused=5, left={"its mask depends on the head": 1})
    optimized = replace(manifest.artifacts[1], fusions=(fusion,))
    manifest = replace(manifest, artifacts=(manifest.artifacts[0], optimized))
    assert "attention 6 5 1: its mask depends on the head" in Page(page(tmp_path, manifest)).text


def test_what_stayed_float32_is_told_with_its_reason(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    kept = KeptNode(node="layer.3/MatMul", operator="MatMul", reason="its values are too large")
    half = replace(manifest.artifacts[1], kept=(kept,))
    manifest = replace(manifest, artifacts=(manifest.artifacts[0], half))
    assert "layer.3/MatMul MatMul its values are too large" in Page(page(tmp_path, manifest)).text


def test_what_auto_tried_is_told_with_its_frontier(tmp_path: Path) -> None:
    small = fidelity(0.05, bin_number=22, speed=3)
    near = fidelity(0.001, bin_number=15, speed=2)
    tried = [
        Candidate(name="Q4", size_bytes=900_000, fidelity=small, speedup=3, outcome="too far"),
        Candidate(name="Q8", size_bytes=2_000_000, fidelity=near, speedup=2),
        Candidate(name="Float16", outcome="not tried: it would be larger"),
    ]
    budget = Budget(floor=Floor(mean_cosine=0.995), min_speedup=1.5)
    manifest = replace(published(tmp_path), search=search_record(budget, tried))
    assert parse_manifest(as_text(manifest).encode()) == manifest
    text = Page(page(tmp_path, manifest)).text
    assert "mean cosine at least 0.995, at least 1.5 times as fast as float32" in text
    assert "● Q4 900.0 kB 0.95000 0.85000 3.00× too far" in text
    assert "● Q8 2.0 MB 0.99900 0.99700 2.00× published" in text
    assert "Float16 – – – – not tried: it would be larger" in text


def test_a_folder_that_was_not_verified_says_so(tmp_path: Path) -> None:
    whole = graph(tmp_path, "model", 1000, fidelity=None)
    text = Page(page(tmp_path, published(tmp_path, whole))).text
    assert "Not verified: 1 of 1 files were not compared" in text
    assert "Verified:" not in text


def test_names_and_texts_of_others_are_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    content = page(
        tmp_path, published(tmp_path, model_id=f"org/{evil}", card=SourceCard(license=evil))
    )
    assert evil not in content
    assert "&lt;script&gt;alert" in content


def test_the_frontier_has_the_graphs_that_no_other_beats(tmp_path: Path) -> None:
    conversion = Conversion(published(tmp_path))
    assert [g.label for g in conversion.frontier] == ["QInt8", "Float16", "optimized, level 1"]


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
    shown = used_bins(Conversion(published(tmp_path, record)).graphs)
    assert {first, first + 1} <= set(shown) <= set(range(len(HISTOGRAM_EDGES) + 1))


def test_report_makes_the_pages_again_and_notes_them(tmp_path: Path) -> None:
    published(tmp_path)
    done = report(ReportRequest(folder=tmp_path, quiet=True))
    assert done.text == str(tmp_path / "report.html")
    manifest = published_manifest(tmp_path)
    assert [page.path for page in manifest.pages] == ["report.html", "README.md"]
    (tmp_path / "report.html").write_text("broken")
    (tmp_path / "README.md").write_text("mine")
    report(ReportRequest(folder=tmp_path, quiet=True))
    assert "Verified" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_folder_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder that embconvert published"):
        report(ReportRequest(folder=tmp_path))
    with pytest.raises(UsageError, match="there is no folder"):
        report(ReportRequest(folder=tmp_path / "nowhere"))
    (tmp_path / "embconvert.json").write_text("{")
    with pytest.raises(SourceError):
        report(ReportRequest(folder=tmp_path))


def test_conversions_stand_side_by_side_with_what_differs(tmp_path: Path) -> None:
    first, second = tmp_path / "before" / "model", tmp_path / "after" / "model"
    published(first)
    published(second, model=EmbeddingRecord(pooling=(PoolingMode.CLS,), dimension=384))
    output = tmp_path / "pages" / "changes.html"
    done = compare(CompareRequest(folders=(first, second), output=output))
    assert done.text == str(output)
    text = Page(output.read_text(encoding="utf-8")).text
    assert f"{first} vs {second}" in text  # their names alone would be the same
    assert "pooling ≠ mean cls" in text
    assert "torch 2.13.0 2.13.0" in text


def test_what_does_not_compare_is_told(tmp_path: Path) -> None:
    manifest = published(tmp_path / "a")
    other = replace(
        manifest,
        machine=replace(manifest.machine, processor="another"),
        verification=replace(manifest.verification, texts_digest="1" * 64),
    )
    text = Page(comparison_page({"a": Conversion(manifest), "b": Conversion(other)})).text
    assert "their cosines do not compare" in text
    assert "different machines" in text
