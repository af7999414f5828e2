"""What pages tell of a conversion."""

from dataclasses import replace
from pathlib import Path

from embconvert.manifest.recommended import recommended
from embconvert.reporting.card import model_card
from embconvert.reporting.compare import comparison_page
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.table import table_rows
from embconvert.speed.records import SpeedsRecord
from support.examples import published, speeds


def test_layers_are_named_by_what_they_lose_not_by_how_far_they_are(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    quantized = ManifestSummary(manifest).graphs[2]
    assert quantized.fidelity is not None
    cosines = [0.99, 0.985, 0.97, 0.969, 0.98, 0.98]
    layers = tuple(
        replace(layer, cosine=cosine)
        for layer, cosine in zip(quantized.fidelity.layers, cosines, strict=True)
    )
    record = replace(quantized.record, fidelity=replace(quantized.fidelity, layers=layers))
    worst = ManifestSummary(replace(manifest, artifacts=(record,))).graphs[0].worst_layers
    assert [(layer.layer, round(loss, 4)) for layer, loss in worst] == [
        (2, 0.015), (0, 0.01), (1, 0.005),
    ]  # fmt: skip


def test_the_frontier_has_the_graphs_that_no_other_beats(tmp_path: Path) -> None:
    conversion = ManifestSummary(published(tmp_path))
    assert [g.label for g in conversion.frontier] == ["QInt8", "Float16", "optimized, level 1"]


def test_a_speed_that_noise_hides_is_said_so_on_every_page(tmp_path: Path) -> None:
    noise = speeds(model=None, model_opt1=1.2, model_opt1_QInt8=(2.26, 5.65))
    manifest = replace(published(tmp_path), speeds=noise)
    manifest = replace(manifest, recommended=recommended(manifest))
    conversion, home = ManifestSummary(manifest), Home(name="example-model")
    for text in (
        report_page(manifest, tmp_path, home=home),
        model_card(manifest, tmp_path, home=home),
        comparison_page({"a": conversion, "b": conversion}),
        str(table_rows(manifest)),
    ):
        assert "not measurable" in text
        assert "5.65" not in text
    assert conversion.graphs[2].speed_words == "speed not measurable"


def test_the_fastest_file_is_faster_by_more_than_noise(tmp_path: Path) -> None:
    def fastest(measured: SpeedsRecord) -> str | None:
        found = ManifestSummary(replace(manifest, speeds=measured)).fastest
        return found.label if found else None

    manifest = published(tmp_path)
    assert fastest(speeds(model=None, model_opt1=(3.0, 2.5), model_opt1_QInt8=2.0)) == "QInt8"
    # Not told apart: the smaller one.
    assert (
        fastest(speeds(model=None, model_opt1=(2.1, 0.1), model_opt1_QInt8=(2.0, 0.1))) == "QInt8"
    )
    assert fastest(speeds(model=None, model_opt1=(1.05, 0.2))) is None
