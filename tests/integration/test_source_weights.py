"""The source's weights stay in its files, whatever precision they are stored in."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from embconvert.errors import SourceError
from embconvert.graph.onnx_file import read_model
from embconvert.graph.source_tensors import marked, read_places
from support import all_architectures, zoo
from support.exports import export, load

pytestmark = pytest.mark.integration

GROUPS = [zoo.SENTENCES[:5], zoo.SENTENCES[5:12], zoo.SENTENCES[12:]]


def saved_in_float32(model: Path, folder: Path) -> Path:
    chain = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": torch.float32})
    chain.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["deberta", "nomic_bert", "qwen3", "t5"])
def test_a_half_precision_source_is_one_in_float32(
    architecture: str, dtype: str, tmp_path: Path
) -> None:
    half = zoo.build_model(architecture, tmp_path / "half", dtype=dtype)
    full = saved_in_float32(half, tmp_path / "full")

    found = load(half).encode(GROUPS)

    reference = SentenceTransformer(str(full), device="cpu")
    for embeddings, texts in zip(found, GROUPS, strict=True):
        wanted = reference.encode(list(texts), batch_size=len(texts))
        assert embeddings.sentence is not None
        np.testing.assert_allclose(embeddings.sentence, wanted, atol=1e-6)
    graphs = [export(load(m), m.with_suffix(".onnx")).read_bytes() for m in (half, full)]
    assert graphs[0] == graphs[1]


def test_layer_by_layer_gives_what_batch_by_batch_gives(tiny_bert: Path) -> None:
    source = load(tiny_bert)
    one_by_one = source.encode(GROUPS)
    shares: list[float] = []
    in_lockstep = source.encode(GROUPS, shares.append, layer_by_layer=True)
    assert sum(shares) == pytest.approx(1.0)
    for ours, theirs in zip(in_lockstep, one_by_one, strict=True):
        for name in ("sentence", "token_mean"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-6)


def test_weights_of_a_layer_that_runs_again_are_written_once(tmp_path: Path) -> None:
    """albert is one layer, run as often as its configuration says."""
    sizes = set()
    for layers in (2, 4):
        overrides = {"num_hidden_layers": layers}
        model = zoo.build_model("albert", tmp_path / f"{layers}", overrides=overrides)
        graph = read_model(export(load(model), model.with_suffix(".onnx")))
        sizes.add(sum(v.const_value.nbytes for v in graph.graph.initializers.values()))
    assert len(sizes) == 1


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    weights[name][3, 5] = float("inf")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=f"{name} has values that are not finite"):
        export(load(model), tmp_path / "model.onnx")


def test_weights_of_a_hub_model_stay_where_they_are(tiny_bert: Path, tmp_path: Path) -> None:
    """In the hub's cache, a file of weights has a hash for a name, and a link that names it."""
    snapshot, blobs = tmp_path / "snapshots" / "commit", tmp_path / "blobs"
    shutil.copytree(tiny_bert, snapshot)
    blobs.mkdir()
    (snapshot / "model.safetensors").rename(blobs / "a1b2")
    (snapshot / "model.safetensors").symlink_to(blobs / "a1b2")
    apart = tmp_path / "apart.onnx"
    export(load(snapshot), apart, keep_weights_apart=True)
    whole = export(load(snapshot), tmp_path / "whole.onnx")
    places = read_places(apart)
    files = {place.file for weight in places.values() if (place := marked(weight))}
    assert files == {str(blobs / "a1b2")}
    assert apart.stat().st_size < whole.stat().st_size / 4


def test_a_weight_that_the_library_changes_is_not_taken_from_the_file(tmp_path: Path) -> None:
    """transformers sets the row of funnel's pad token to zero, whatever the file has."""
    model = all_architectures.make("funnel", tmp_path / "model", gain=1.5)
    name = "embeddings.word_embeddings.weight"
    assert load_file(model / "model.safetensors")[name][0].any()
    path = tmp_path / "graph.onnx"
    export(load(model), path, keep_weights_apart=True)
    table = read_model(path).graph.initializers[name].const_value
    assert table is not None
    assert not table.numpy()[0].any()
    assert name not in read_places(path)
    assert "embeddings.layer_norm.weight" in read_places(path)
