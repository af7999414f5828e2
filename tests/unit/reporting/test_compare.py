"""The page that compares conversions."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.folder.evaluations import write_evaluation
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.models.choices import PoolingMode
from embconvert.models.routes import Route
from embconvert.reporting.compare import compare, comparison_page
from embconvert.reporting.summary import ManifestSummary
from embconvert.request.records import CompareRequest
from support.evaluation import evaluation
from support.examples import USUAL_SPEEDS, graph, published
from support.html_page import Page


def test_conversions_stand_side_by_side_with_what_differs(tmp_path: Path) -> None:
    first, second = tmp_path / "before" / "model", tmp_path / "after" / "model"
    published(first)
    published(second, model=EmbeddingRecord(pooling=(PoolingMode.CLS,), dimension=384))
    output = tmp_path / "pages" / "changes.html"
    done = compare(CompareRequest(folders=(first, second), output=output))
    assert done.text == str(output)
    text = Page(output.read_text(encoding="utf-8")).text
    assert "before/model vs after/model" in text  # their names alone would be the same
    assert str(tmp_path) not in output.read_text(encoding="utf-8")
    assert "pooling ≠ mean cls" in text
    assert "torch 2.13.0 2.13.0" in text


def test_evaluations_on_the_same_data_stand_side_by_side(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    manifests = [published(folder) for folder in (first, second)]
    for folder, manifest, loss in zip((first, second), manifests, (0.8, 1.5), strict=True):
        digests = [graph.sha256 for graph in manifest.artifacts[:2]]
        write_evaluation(folder, evaluation(*digests, loss=loss), lambda _: "")
    # A graph that was made again has no figures.
    write_evaluation(second, evaluation("0" * 64, digest="d" * 64), lambda _: "")
    output = tmp_path / "compare.html"
    compare(CompareRequest(folders=(first, second), output=output))
    text = Page(output.read_text(encoding="utf-8")).text
    assert text.count("nDCG@10 on my data") == 1
    assert "0.7420 0.8 points lower" in text
    assert "0.7350 1.5 points lower" in text


def test_data_that_has_changed_has_a_heading_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    manifests = [published(folder) for folder in (first, second)]
    for folder, manifest, digest in zip((first, second), manifests, "ef", strict=True):
        found = evaluation(manifest.artifacts[0].sha256, digest=digest * 64)
        write_evaluation(folder, found, lambda _: "")
    output = tmp_path / "compare.html"
    compare(CompareRequest(folders=(first, second), output=output))
    page = output.read_text(encoding="utf-8")
    for number in (1, 2):
        assert f">nDCG@10 on my data ({number})<" in page
        assert f'aria-label="Files by nDCG@10 on my data ({number})"' in page


@pytest.mark.parametrize("is_made_again", [False, True])
def test_the_evaluation_of_two_routes_is_that_of_each_until_either_changes(
    is_made_again: bool, tmp_path: Path
) -> None:
    model, other = tmp_path / "model", tmp_path / "other"
    query = Route(name="query", tasks=("query",), is_default=True, others=("document",))
    document = Route(name="document", tasks=("document",), is_default=False, others=("query",))
    (model / "document").mkdir(parents=True)
    of_query = published(model / "query", route=query).artifacts[0]
    of_document = graph(model / "document", "model", 5000)
    published(model / "document", of_document, route=document)
    published(other / "query", route=query)
    pair = replace(evaluation("0" * 64), routes=("query", "document"))
    (baseline,) = pair.graphs
    of_two = replace(baseline, digests=(of_query.sha256, of_document.sha256))
    write_evaluation(model, replace(pair, graphs=(of_two,)), lambda _: "")
    if is_made_again:
        published(model / "document", graph(model / "document", "model", 6000), route=document)
    output = tmp_path / "compare.html"
    compare(CompareRequest(folders=(model / "query", other / "query"), output=output))
    text = Page(output.read_text(encoding="utf-8")).text
    assert ("nDCG@10 on my data" in text) != is_made_again
    assert ("0.7500" in text) != is_made_again


def test_a_route_also_has_its_own_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = Route(name="query", tasks=("query",), is_default=True, others=("document",))
    folders = tmp_path / "a" / "query", tmp_path / "b" / "query"
    digests = [published(folder, route=route).artifacts[0].sha256 for folder in folders]
    write_evaluation(folders[0], evaluation(digests[0]), lambda _: "")
    of_two = evaluation(digests[0], digest="d" * 64)
    of_two = replace(of_two, data=replace(of_two.data, name="both routes"))
    write_evaluation(folders[0].parent, of_two, lambda _: "")
    monkeypatch.chdir(folders[0])
    output = tmp_path / "compare.html"
    compare(CompareRequest(folders=(Path(), folders[1]), output=output))
    text = Page(output.read_text(encoding="utf-8")).text
    assert "nDCG@10 on my data" in text
    assert "nDCG@10 on both routes" in text


def test_what_does_not_compare_is_told(tmp_path: Path) -> None:
    manifest = published(tmp_path / "a")
    other = replace(
        manifest,
        machine=replace(manifest.machine, processor="another"),
        verification=replace(manifest.verification, texts_digest="1" * 64),
    )
    text = Page(comparison_page({"a": ManifestSummary(manifest), "b": ManifestSummary(other)})).text
    assert "their cosines cannot be compared" in text
    assert "different machines" in text


def test_busy_machines_are_told_in_one_line(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    busy = replace(manifest, speeds=replace(USUAL_SPEEDS, waited=0.83))
    named = {"a": busy, "b": busy, "c": manifest}
    text = Page(comparison_page({n: ManifestSummary(m) for n, m in named.items()})).text
    assert text.count("The machine was busy") == 1
    assert "share of the time: a 83%, b 83%." in text


def test_the_heading_of_many_is_their_number(tmp_path: Path) -> None:
    summary = ManifestSummary(published(tmp_path))
    assert "<h1>4 conversions</h1>" in comparison_page(dict.fromkeys("abcd", summary))
    assert "<h1>a " in comparison_page(dict.fromkeys("abc", summary))
