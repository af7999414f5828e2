"""The table of programs: every claim has a source or a test."""

import re
from pathlib import Path

import pytest

from embconvert.manifest.consumers import CONSUMERS, Consumer, consumer_of
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout, Output
from embconvert.models.kinds import KINDS, Kind
from support.command_line import ROOT

TESTS = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "consumers").glob("test_*.py")
)
LOCKED = "\n".join(
    path.read_text(encoding="utf-8")
    for path in [
        *(ROOT / "requirements").rglob("*.txt"),
        *ROOT.glob("tests/consumers/*/package.json"),
    ]
)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_what_runs_has_a_test_and_the_rest_says_where_it_was_read(consumer: Consumer) -> None:
    for run in consumer.runs:
        assert re.search(rf"^def {run.test}\(", TESTS, re.MULTILINE), run.test
    if not consumer.runs:
        assert consumer.source is not None
    if consumer.source is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", consumer.source.date)
    if any(run.is_engine for run in consumer.runs):
        assert consumer.source is not None  # whose rules the test follows


@pytest.mark.parametrize("layout", Layout)
def test_a_program_of_every_layout_or_its_engine_is_run(layout: Layout) -> None:
    assert any(consumer.runs for consumer in CONSUMERS if consumer.layout is layout)


#: What is run, by its name in the table, and its package; the libraries for Java have no lock file.
PACKAGES = {
    "fastembed": "fastembed", "onnxruntime": "onnxruntime", "OpenVINO": "openvino",
    "onnxruntime-extensions": "onnxruntime-extensions", "optimum-onnx": "optimum-onnx",
    "sentence-transformers": "sentence-transformers", "tokenizers": "tokenizers",
    "transformers": "transformers", "transformers.js": '"@huggingface/transformers',
}  # fmt: skip


def test_the_versions_that_are_claimed_are_those_that_are_installed() -> None:
    claims = {run.program for consumer in CONSUMERS for run in consumer.runs}
    seen = set()
    for name, versions in re.findall(
        r"(?<!DJL's )\b([\w.-]+) (\d+\.[\d.]*\d(?:(?:, | and )\d+\.\d+)*)",
        "; ".join(claims),
    ):
        if name == "Runtime":  # for Java
            continue
        seen.add(name)
        for version in re.findall(r"[\d.]+", versions):
            found = rf'^\s*{PACKAGES[name]}(==|": "){re.escape(version)}\b'
            assert re.search(found, LOCKED, re.MULTILINE), f"{name} {version}"
    assert seen == set(PACKAGES)


def test_names_are_distinct_and_every_layout_has_a_program() -> None:
    names = [consumer.name for consumer in CONSUMERS]
    assert len(set(names)) == len(names)
    assert {consumer.layout for consumer in CONSUMERS} - {None} == set(Layout) == set(LAYOUTS)


@pytest.mark.parametrize("layout", Layout)
def test_a_layouts_program_can_use_every_kind_that_the_layout_takes(layout: Layout) -> None:
    for kind, rules in KINDS.items():
        takes = layout in rules.layouts or any(layout in more for more in rules.layouts_of.values())
        consumer = consumer_of(layout, kind)
        assert consumer.layout is layout
        if takes:
            assert set(consumer.outputs) & set(rules.outputs)


def test_vespas_component_depends_on_the_kind_of_model() -> None:
    assert consumer_of(Layout.VESPA).name == "Vespa: hugging-face-embedder"
    assert consumer_of(Layout.VESPA, Kind.LATE_INTERACTION).name == "Vespa: colbert-embedder"
    splade = consumer_of(Layout.VESPA, Kind.SPARSE)
    assert splade.name == "Vespa: splade-embedder"
    assert splade.outputs == (Output.LOGITS,)


def test_the_readme_and_the_guides_name_layouts_that_exist() -> None:
    pages = [ROOT / "README.md", *Path(ROOT / "docs" / "guides").glob("*.md")]
    named = {
        word
        for page in pages
        for word in re.findall(r"--layout ([a-z0-9]+)", page.read_text(encoding="utf-8"))
    }
    assert named <= set(map(str, Layout))
    assert {"langchain4j", "springai", "opensearch", "vespa"} <= named
