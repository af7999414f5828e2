"""A file that keeps the cosines but not the order of texts is not published."""

import json
from pathlib import Path

import pytest

from support import zoo
from support.command_line import embconvert

pytestmark = pytest.mark.integration


def point_all_texts_one_way(model: Path) -> None:
    """Adds a huge direction to the last hidden state of all texts, before a dense layer."""
    import torch
    from safetensors.torch import load_file, save_file

    file = model / "model.safetensors"
    weights = load_file(file)
    (*_, name) = sorted(n for n in weights if n.endswith("output.LayerNorm.bias"))
    signs = torch.arange(len(weights[name])) % 2 * 2 - 1.0
    weights[name] = weights[name] + 50 * signs * torch.linspace(0.5, 1.0, len(signs))
    save_file(weights, file, metadata={"format": "pt"})


def test_texts_that_change_places_behind_high_cosines_fall_short(tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "model", dense=True, normalize=True)
    point_all_texts_one_way(model)
    arguments = ("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    refused = embconvert(*arguments, "--quantize", "QInt8", "--min_cosine", 0.99)
    assert refused.code == 8, refused.stderr
    assert "rank correlation 0." in refused.stderr
    assert "--min_neighbours 0." in refused.stderr

    accepted = embconvert(*arguments, "--quantize", "QInt8", "--min_neighbours", 0.05)
    assert accepted.code == 0, accepted.stderr
    manifest = json.loads((tmp_path / "out" / "model" / "embconvert.json").read_text())
    assert manifest["recommended"]["path"] in {a["path"] for a in manifest["artifacts"]}
    assert manifest["recommended"]["reason"] in accepted.stderr
    figures = {a["precision"]: a["fidelity"] for a in manifest["artifacts"]}
    assert figures["QInt8"]["similarity"]["mean"] > 0.999
    assert figures["QInt8"]["rank_correlation"] < 0.95
    assert figures["QInt8"]["neighbours"]["kept"] < 0.95
    assert figures["Float32"]["neighbours"] == {"kept": 1.0, "of": 10, "texts": 297}
