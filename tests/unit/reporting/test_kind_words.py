"""The card, the report and the code of models that make no embeddings."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.manifest import Manifest
from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.manifest.kinds.base import HeadRecord
from embconvert.manifest.kinds.hybrid import HybridRecord
from embconvert.manifest.kinds.late_interaction import LateInteractionRecord
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.manifest.kinds.sparse import SparseRecord
from embconvert.models.choices import Output
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.late_interaction import Expansion, LateInteraction
from embconvert.models.values import TensorInfo
from embconvert.reporting.card import front_matter, model_card
from embconvert.reporting.compare import comparison_page
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.table import table_header, table_rows
from support.examples import fidelity, published, similarity

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
    (name,) = rules.named_outputs(Output.BOTH)
    outputs = (TensorInfo(name=name, dtype="float", shape=("batch", 1)),)
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
    card = model_card(manifest, tmp_path, home=Home(name="m"))
    page = report_page(manifest, tmp_path, home=Home(name="m"))
    for text in (card, page):
        assert "embedding and the source" not in text
        assert ("agreement" in text) is (kind is Kind.RERANKER)
    assert KINDS[kind].words in page
    assert front_matter(manifest)["tags"][-1] == "embconvert"
    found = snippets(manifest, manifest.artifacts[2], tmp_path, home=Home(name="m"))
    assert "onnxruntime" in [snippet.key for snippet in found]
    for snippet in found:
        assert snippet.code in card
        if snippet.language == "python":
            ast.parse(snippet.code)


#: The classes of sentence-transformers that load a graph in OpenVINO's format.
ON_OPENVINO = {Kind.RERANKER: "CrossEncoder"}


@pytest.mark.parametrize("kind", [Kind.EMBEDDING, *FACTS])
def test_a_file_of_openvinos_is_shown_in_programs_that_run_openvino(
    kind: Kind, tmp_path: Path
) -> None:
    manifest = of_kind(tmp_path, kind) if kind in FACTS else published(tmp_path)
    form = FileForm(kind=FormKind.OPENVINO)
    graph = replace(manifest.artifacts[2], path="openvino/openvino_model_q8.xml", forms=(form,))
    found = {s.key: s.code for s in snippets(manifest, graph, tmp_path, home=Home(name="m"))}
    library_class = {Kind.EMBEDDING: "SentenceTransformer", **ON_OPENVINO}.get(kind)
    own = "sentence-transformers-openvino"
    assert set(found) == {"openvino", *([own] if library_class else [])}
    for code in found.values():
        ast.parse(code)
        assert "openvino_model_q8.xml" in code
        assert '{"INFERENCE_PRECISION_HINT": "f32"}' in code
        assert "session" not in code
    if library_class:
        assert f"model = {library_class}(" in found[own]


def test_a_reranker_is_shown_in_every_program_that_ranks(tmp_path: Path) -> None:
    manifest = of_kind(tmp_path, Kind.RERANKER)
    found = {
        s.key: s.code
        for s in snippets(manifest, manifest.artifacts[2], tmp_path, home=Home(name="m"))
    }
    assert list(found) == [
        "sentence-transformers", "fastembed", "onnxruntime", "transformers.js",
        "text-embeddings-inference",
    ]  # fmt: skip
    assert "1 / (1 + np.exp(-logits))" in found["onnxruntime"]
    assert front_matter(manifest)["pipeline_tag"] == "text-ranking"
    several = of_kind(tmp_path, Kind.RERANKER, labels=3)
    found = {
        s.key: s.code
        for s in snippets(several, several.artifacts[2], tmp_path, home=Home(name="m"))
    }
    assert "fastembed" not in found
    assert front_matter(several)["pipeline_tag"] == "text-classification"


def test_models_of_different_kinds_are_not_compared_in_silence(tmp_path: Path) -> None:
    manifests = {"a": published(tmp_path / "a"), "b": of_kind(tmp_path / "b", Kind.RERANKER)}
    page = comparison_page({name: ManifestSummary(m) for name, m in manifests.items()})
    assert "models are of different kinds" in page
    assert manifests["b"].measure is Measure.AGREEMENT


def hybrid(folder: Path, *heads: Kind) -> Manifest:
    """A usual conversion's manifest, as of a model with these heads."""
    rules = [head for head in KINDS[Kind.HYBRID].heads if Kind(head.kind) in heads]
    manifest = published(folder)
    model = HybridRecord(
        dimension=384,
        heads=tuple(
            HeadRecord(kind=Kind(h.kind), output=h.output, file=h.file, dimension=8) for h in rules
        ),
    )
    outputs = tuple(TensorInfo(name=h.output, dtype="float", shape=("batch", "seq")) for h in rules)
    graphs = tuple(
        replace(
            graph,
            outputs=(*graph.outputs, *outputs),
            fidelity=graph.fidelity
            and replace(
                graph.fidelity, heads={kind: fidelity(0.0123, bin_number=20) for kind in heads}
            ),
        )
        for graph in manifest.artifacts
    )
    source = replace(manifest.source, model=model)
    return parse_manifest(as_text(replace(manifest, source=source, artifacts=graphs)).encode())


@pytest.mark.parametrize(
    "heads",
    [(Kind.SPARSE,), (Kind.LATE_INTERACTION,), (Kind.SPARSE, Kind.LATE_INTERACTION)],
)
def test_pages_have_the_figures_of_each_head_and_code_for_all(
    heads: tuple[Kind, ...], tmp_path: Path
) -> None:
    manifest = hybrid(tmp_path, *heads)
    names = [head.output for head in manifest.source.model.heads]
    assert len(names) == len(heads)
    card = model_card(manifest, tmp_path, home=Home(name="m"))
    page = report_page(manifest, tmp_path, home=Home(name="m"))
    for name in names:
        assert f"| `onnx/model_opt1_QInt8.onnx` | `{name}` | 0.98770 |" in card
        assert f"<td><code>{name}</code></td><td>0.98770</td>" in page
        assert f"<b>QInt8</b>, <code>{name}</code>: worst text <bdi>" in page
    assert 'href="#heads"' in page
    found = {
        s.key: s for s in snippets(manifest, manifest.artifacts[2], tmp_path, home=Home(name="m"))
    }
    code = found["onnxruntime"].code
    ast.parse(code)
    assert [name for name in ("token_weights", "colbert_embeddings") if name in code] == names
    assert '"sentence_embedding",' in code
    assert found["fastembed"].remark.endswith("The dense vectors only.")
    rows = table_rows(manifest)
    assert [row[0] for row in rows[:2]] == ["onnx/model.onnx", f"  {heads[0]} head"]
    assert len(rows) == len(manifest.artifacts) * (1 + len(heads))
    assert {len(row) for row in rows} == {len(table_header(manifest.measure))}


def test_figures_of_heads_that_a_model_cannot_have_are_refused(tmp_path: Path) -> None:
    manifest = hybrid(tmp_path, Kind.SPARSE)
    inside = {Kind.SPARSE: fidelity(0.1, bin_number=20)}
    wrong = [
        {Kind.RERANKER: fidelity(0.1, bin_number=20)},
        {Kind.SPARSE: fidelity(0.1, bin_number=20, heads=inside)},
        {Kind.SPARSE: fidelity(0.1, bin_number=20, similarity=similarity(0.1, Measure.AGREEMENT))},
    ]
    for heads in wrong:
        first = manifest.artifacts[0]
        assert first.fidelity is not None
        graph = replace(first, fidelity=replace(first.fidelity, heads=heads))
        changed = replace(manifest, artifacts=(graph, *manifest.artifacts[1:]))
        with pytest.raises(UnsupportedModelError, match=r"artifacts\[0\].fidelity.heads are not"):
            as_text(changed)
