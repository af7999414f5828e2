"""The card, the report and the code of models that make no embeddings."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples import published

from embconvert.manifest import (
    LateInteractionRecord,
    Manifest,
    RerankerRecord,
    SparseRecord,
)
from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.late_interaction import Expansion, LateInteraction
from embconvert.models.values import TensorInfo
from embconvert.reporting.card import front_matter, model_card
from embconvert.reporting.compare import comparison_page
from embconvert.reporting.page import report_page
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Conversion

LATE = LateInteraction(
    query_prompt="q: ", document_prompt="d: ", query_length=None, document_length=180,
    expansion=Expansion(length=32, token_id=103, attend=True, fixed=True),
    skipped_ids=(1012, 1010), skipped_in=("document",),
)  # fmt: skip
FACTS: dict[Kind, Any] = {
    Kind.RERANKER: RerankerRecord(labels=1, activation="torch.nn.modules.activation.Sigmoid"),
    Kind.SPARSE: SparseRecord(similarity="dot", dimension=30_522),
    Kind.LATE_INTERACTION: LateInteractionRecord(
        similarity="maxsim", late_interaction=LATE, dimension=128
    ),
}


def of_kind(folder: Path, kind: Kind, **more: Any) -> Manifest:
    """A usual conversion's manifest, as of this kind, and read back from its file."""
    modules = ("Transformer", "SpladePooling") if kind is Kind.SPARSE else ()
    manifest = published(folder)
    model = replace(FACTS[kind], **more)
    manifest = replace(manifest, source=replace(manifest.source, model=model, modules=modules))
    rules = KINDS[kind]
    (value,) = [v for v in rules.values if v.is_output]
    outputs = (TensorInfo(name=value.name, dtype="float", shape=("batch", 1)),)
    graphs = tuple(
        replace(
            graph,
            outputs=outputs,
            fidelity=graph.fidelity
            and replace(
                graph.fidelity,
                similarity=replace(graph.fidelity.similarity, measure=rules.measure),
            ),
        )
        for graph in manifest.artifacts
    )
    return parse_manifest(as_text(replace(manifest, artifacts=graphs)).encode())


@pytest.mark.parametrize("kind", FACTS)
def test_pages_speak_of_what_it_gives(kind: Kind, tmp_path: Path) -> None:
    manifest = of_kind(tmp_path, kind)
    card = model_card(manifest, tmp_path, name="m")
    page = report_page(manifest, tmp_path, name="m")
    for text in (card, page):
        assert "embedding and the source" not in text
        assert ("agreement" in text) is (kind is Kind.RERANKER)
    assert KINDS[kind].words in page
    assert front_matter(manifest)["tags"][-1] == "embconvert"
    found = snippets(manifest, manifest.artifacts[2], tmp_path, name="m")
    assert "onnxruntime" in [snippet.key for snippet in found]
    for snippet in found:
        assert snippet.code in card
        if snippet.language == "python":
            ast.parse(snippet.code)


def test_a_reranker_is_shown_in_every_program_that_ranks(tmp_path: Path) -> None:
    manifest = of_kind(tmp_path, Kind.RERANKER)
    found = {s.key: s.code for s in snippets(manifest, manifest.artifacts[2], tmp_path, name="m")}
    assert list(found) == [
        "sentence-transformers", "fastembed", "onnxruntime", "transformers.js",
        "text-embeddings-inference",
    ]  # fmt: skip
    assert "1 / (1 + np.exp(-logits))" in found["onnxruntime"]
    assert front_matter(manifest)["pipeline_tag"] == "text-ranking"
    several = of_kind(tmp_path, Kind.RERANKER, labels=3)
    found = {s.key: s.code for s in snippets(several, several.artifacts[2], tmp_path, name="m")}
    assert "fastembed" not in found
    assert front_matter(several)["pipeline_tag"] == "text-classification"


def test_models_of_different_kinds_are_not_compared_in_silence(tmp_path: Path) -> None:
    manifests = {"a": published(tmp_path / "a"), "b": of_kind(tmp_path / "b", Kind.RERANKER)}
    page = comparison_page({name: Conversion(m) for name, m in manifests.items()})
    assert "models of different kinds" in page
    assert manifests["b"].measure is Measure.AGREEMENT
