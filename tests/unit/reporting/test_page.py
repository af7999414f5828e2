"""The page of a conversion."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from embconvert.fidelity.floors import Floor
from embconvert.manifest import Manifest
from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.models.source_records import SourceCard
from embconvert.models.values import Fusion, KeptNode
from embconvert.plan.budget import Budget
from embconvert.plan.frontier import Candidate, search_record
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.speed.records import Speedup
from support.examples import fidelity, graph, published
from support.html_page import Page


def page(folder: Path, manifest: Manifest) -> str:
    return report_page(manifest, folder, home=Home(name="example-model"))


def test_the_page_says_what_matters_at_a_glance(tmp_path: Path) -> None:
    text = Page(page(tmp_path, published(tmp_path))).text
    assert "Verified: every file gives the source's embeddings" in text
    for words in (
        "org/example-model", "23.0 kB", "0.98900", "2.10x ± 0.10", "1234567890" * 4,
        "AMD EPYC, 2 CPUs", "torch 2.13.0", "embconvert all --model_id org/example-model",
        "Texts by cosine", "The batch does not matter", "multilingual-ko-001",
    ):  # fmt: skip
        assert words in text


def test_the_page_recommends_one_file_and_says_why(tmp_path: Path) -> None:
    content = page(tmp_path, published(tmp_path))
    text = Page(content).text
    reason = "the smallest file that is not slower than float32"
    assert f"Recommended file QInt8, 23.0 kB 26% of the exported; {reason}" in text
    assert content.count('class="tag">recommended<') == 1
    assert "QInt8 recommended onnx/model_opt1_QInt8.onnx" in text
    assert f"Code for onnx/model_opt1_QInt8.onnx , {reason}" in text
    assert "run it in the folder that contains example-model" in text


def test_it_needs_nothing_from_outside(tmp_path: Path) -> None:
    content = page(tmp_path, published(tmp_path))
    for tag, attributes in Page(content).tags:
        for name in ("src", "href", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, value)
        assert tag not in ("iframe", "object", "embed", "link") or attributes.get("rel") == "icon"
    assert "@import" not in content
    assert "url(" not in content


def test_a_hub_has_no_evaluation_beside_the_report(tmp_path: Path) -> None:
    manifest, command = published(tmp_path), "embconvert evaluate FOLDER --data PATH"
    assert f"{command} compares the files on your own data; its page is evaluation.html" in (
        Page(page(tmp_path, manifest)).text
    )
    on_hub = Home(name="org/example-model", on_hub=True, has_evaluation=True)
    text = Page(report_page(manifest, tmp_path, home=on_hub)).text
    assert f"{command} compares the files on your own data." in text.replace(" .", ".")
    assert "evaluation.html" not in text


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
    assert "QInt8 23.0 kB, mean cosine 0.98900" in plots[0]


def test_what_was_not_fused_is_told_with_its_reason(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    fusion = Fusion(kind="attention", fused=5, left={"its mask depends on the head": 1})
    optimized = replace(manifest.artifacts[1], fusions=(fusion,))
    manifest = replace(manifest, artifacts=(manifest.artifacts[0], optimized), recommended=None)
    assert "attention 6 5 1: its mask depends on the head" in Page(page(tmp_path, manifest)).text


def test_what_stayed_float32_is_told_with_its_reason(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    kept = KeptNode(node="layer.3/MatMul", operator="MatMul", reason="its values are too large")
    half = replace(manifest.artifacts[1], kept=(kept,))
    manifest = replace(manifest, artifacts=(manifest.artifacts[0], half), recommended=None)
    assert "layer.3/MatMul MatMul its values are too large" in Page(page(tmp_path, manifest)).text


def test_what_auto_tried_is_told_with_its_frontier(tmp_path: Path) -> None:
    small, near = fidelity(0.05, bin_number=22), fidelity(0.001, bin_number=15)
    three, two = Speedup(times=3, spread=0.2), Speedup(times=2, spread=0.1)
    tried = [
        Candidate(name="Q4", size_bytes=900_000, fidelity=small, speedup=three, outcome="too far"),
        Candidate(name="Q8", size_bytes=2_000_000, fidelity=near, speedup=two),
        Candidate(name="Float16", outcome="not tried: it would be larger"),
    ]
    budget = Budget(floor=Floor(mean_cosine=0.995), min_speedup=1.5)
    manifest = replace(published(tmp_path), search=search_record(budget, tried))
    assert parse_manifest(as_text(manifest).encode()) == manifest
    text = Page(page(tmp_path, manifest)).text
    assert "mean cosine at least 0.995, at least 1.5 times as fast as float32" in text
    assert "● Q4 900.0 kB 0.95000 0.85000 3.00x ± 0.20 too far" in text
    assert "● Q8 2.0 MB 0.99900 0.99700 2.00x ± 0.10 published" in text
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
