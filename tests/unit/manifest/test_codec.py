"""What is written to embconvert.json is read again."""

from dataclasses import replace
from pathlib import Path

from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.models.json_records import as_json
from embconvert.models.kinds import Measure
from embconvert.models.values import Fusion, KeptNode
from support.examples import fidelity, published, similarity


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    assert parse_manifest(as_text(manifest).encode()) == manifest


def test_what_became_of_a_graphs_nodes_survives_json(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    changed = replace(
        manifest.artifacts[0],
        fusions=(
            Fusion(kind="attention", fused=2, left={"it is of a form that no rule knows": 1}),
            Fusion(kind="GELU", fused=4, left={}),
        ),
        kept=(KeptNode(node="layer.3/MatMul", operator="MatMul", reason="its values are large"),),
    )
    made = replace(manifest, artifacts=(changed, *manifest.artifacts[1:]))
    assert parse_manifest(as_text(made).encode()) == made


def test_a_similarity_says_its_measure() -> None:
    figures = replace(fidelity(0.01, bin_number=3), similarity=similarity(0.01, Measure.AGREEMENT))
    value = as_json(figures)["similarity"]
    assert value["measure"] == "agreement"
    assert set(value) == {"measure", "mean", "error", "p1", "min", "batch"}
