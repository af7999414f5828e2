"""Sparse models: graphs weigh words as sentence-transformers' SparseEncoder does."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.fidelity.figures import cosines
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert, run_published

pytestmark = pytest.mark.integration

TEXTS = [*zoo.SENTENCES, zoo.LONG_SENTENCE]


def theirs(model: Path, texts: Sequence[str] = TEXTS) -> np.ndarray:
    from sentence_transformers import SparseEncoder

    chain = SparseEncoder(str(model), device="cpu")
    vectors: np.ndarray = chain.encode(list(texts), convert_to_sparse_tensor=False).numpy()
    return vectors


def from_the_code_of(card: str, parent: Path) -> tuple[list[str], np.ndarray]:
    """Runs the card's code for ONNX Runtime; returns its texts and their vectors."""
    code = card[card.index("import numpy as np") : card.index("for vector in vectors:\n    active")]
    names: dict[str, Any] = {}
    with contextlib.chdir(parent):
        exec(code, names)
    return names["texts"], names["vectors"]


def ours(folder: Path, file: str) -> np.ndarray:
    vectors: np.ndarray = run_published(folder, file, "sentence_embedding", TEXTS)
    return vectors


@pytest.mark.parametrize("architecture", zoo.SPARSE_MODELS)
def test_every_stage_gives_the_vectors_of_torch(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_sparse(architecture, tmp_path / architecture)
    outcome = convert(
        model, tmp_path / "out", "--quantize", "Q8,QInt8,QUInt8,QInt8Static,Float16",
        "--min_cosine", 0.9,
    )  # fmt: skip
    folder = tmp_path / "out" / architecture
    wanted = theirs(model)
    assert 0.01 < (wanted != 0).mean() < 0.9
    for file in ("model.onnx", "model_opt1.onnx"):
        np.testing.assert_allclose(ours(folder, f"onnx/{file}"), wanted, atol=2e-4)
        figures = outcome.graph(file)["fidelity"]
        assert figures["active_overlap"] > 0.999
    source = outcome.manifest["source"]["model"]
    assert (source["kind"], source["similarity"], source["dimension"]) == ("sparse", "dot", 400)
    shape = outcome.graph("model_opt1_QInt8.onnx")["outputs"][0]["shape"]
    assert shape == ["batch", zoo.VOCAB_SIZE]
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: feature-extraction" in card
    texts, vectors = from_the_code_of(card, tmp_path / "out")
    assert cosines(vectors, theirs(model, texts)).min() > 0.9


def test_pooling_and_the_most_active_dimensions_are_in_the_graph(tmp_path: Path) -> None:
    model = zoo.build_sparse(
        "bert", tmp_path / "m", strategy="sum", activation="log1p_relu", max_active_dims=16
    )
    # Half precision chooses other dimensions among those that are nearly as large.
    outcome = convert(model, tmp_path / "out", "--quantize", "Float16", "--min_cosine", 0.9)
    folder = tmp_path / "out" / "m"
    found = ours(folder, "onnx/model_opt1.onnx")
    np.testing.assert_allclose(found, theirs(model), atol=2e-4)
    assert (found != 0).sum(axis=1).max() == 16
    assert outcome.graph("model.onnx")["fidelity"]["active_dims"] <= 16
    assert outcome.manifest["source"]["model"]["max_active_dims"] == 16


def test_a_masked_language_model_is_one_when_that_is_said(tmp_path: Path) -> None:
    model = zoo.build_sparse("bert", tmp_path / "m", modules=False)
    outcome = convert(model, tmp_path / "out", "--task", "fill-mask")
    assert "SPLADE pooling is assumed" in outcome.stderr
    folder = tmp_path / "out" / "m"
    # The published folder says what it is: sentence-transformers makes the same of its modules.
    import shutil

    shutil.copy(model / "model.safetensors", folder)
    np.testing.assert_allclose(ours(folder, "onnx/model_opt1.onnx"), theirs(folder), atol=2e-4)
    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr
    embedding = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "e")
    assert embedding.manifest["source"]["model"]["kind"] == "embedding"


def test_one_that_does_not_say_its_kind_is_refused_with_what_to_add(tmp_path: Path) -> None:
    model = zoo.build_sparse("bert", tmp_path / "m")
    (model / "config_sentence_transformers.json").unlink()
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 3
    assert "does not say that this is a SparseEncoder" in outcome.stderr
    assert 'add "model_type": "SparseEncoder"' in outcome.stderr


def test_an_autoencoder_spreads_embeddings_out(tmp_path: Path) -> None:
    """What sentence-transformers calls CSR: only what inference needs is in the graph."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    plain = zoo.build_model("bert", tmp_path / "plain", pooling=None)
    torch.manual_seed(0)
    modules = [
        Transformer(str(plain)), Pooling(zoo.HIDDEN_SIZE, "mean"),
        SparseAutoEncoder(zoo.HIDDEN_SIZE, 4 * zoo.HIDDEN_SIZE, k=8, k_aux=64),
    ]  # fmt: skip
    model = tmp_path / "csr"
    SparseEncoder(modules=modules, device="cpu").save_pretrained(
        str(model), create_model_card=False
    )
    zoo.save_tokenizer(model, token_type_ids=True, model_max_length=64)
    outcome = convert(model, tmp_path / "out")
    found = ours(tmp_path / "out" / "csr", "onnx/model_opt1.onnx")
    np.testing.assert_allclose(found, theirs(model), atol=2e-4)
    assert (found != 0).sum(axis=1).max() <= 8
    assert outcome.graph("model.onnx")["operators"]["TopK"] >= 1


def test_little_memory_and_no_float32(tmp_path: Path) -> None:
    model = zoo.build_sparse("distilbert", tmp_path / "m", dtype="bfloat16")
    little = convert(
        model, tmp_path / "out", "--quantize", "QInt8", "--no_float32", env=LITTLE_MEMORY
    )
    assert little.manifest["verification"]["execution"] == "layer by layer"
    assert little.graph("model_opt1_QInt8.onnx")["fidelity"]["similarity"]["mean"] > 0.97
    assert len(list((tmp_path / "out" / "m" / "onnx").glob("*.onnx"))) == 1


def test_token_logits_for_programs_that_pool_them(tmp_path: Path) -> None:
    """The model's own pooling of the graph's logits gives SparseEncoder's vectors."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model = zoo.build_sparse(
        "bert", tmp_path / "m", strategy="sum", activation="log1p_relu", max_active_dims=16
    )
    outcome = convert(
        model, tmp_path / "out", "--output", "logits", "--layout", "fastembed",
        "--quantize", "Q8,QInt8,Float16", "--min_cosine", 0.9, env=LITTLE_MEMORY,
    )  # fmt: skip
    assert "fastembed and Vespa always pool by max over relu" in outcome.stderr
    folder = tmp_path / "out" / "m"
    tokens = AutoTokenizer.from_pretrained(model)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = AutoModelForMaskedLM.from_pretrained(model)(**tokens).logits.numpy()
    mask = tokens["attention_mask"].bool().numpy()
    found = run_published(folder, "onnx/model_opt1.onnx", "logits", TEXTS)
    np.testing.assert_allclose(found[mask], wanted[mask], atol=2e-4)
    for graph in outcome.manifest["artifacts"]:
        (output,) = graph["outputs"]
        assert (output["name"], output["shape"]) == ("logits", ["batch", "seq", zoo.VOCAB_SIZE])
        assert "TopK" not in graph["operators"], "the pooling is still there"
        figures = graph["fidelity"]
        assert figures["lowest_token_cosine"] > 0.9
        assert figures["active_dims"] == 16
    card = (folder / "README.md").read_text()
    texts, vectors = from_the_code_of(card, tmp_path / "out")
    assert cosines(vectors, theirs(model, texts)).min() > 0.9
    assert "splade_pp" not in card, "fastembed would pool otherwise"
    for against in ([], ["--against", model]):
        verified = embconvert("verify", folder, *against)
        assert verified.code == 0, verified.stderr


def test_logits_of_a_model_that_pools_none_are_refused(tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    plain = zoo.build_sparse("bert", tmp_path / "plain", modules=False)
    modules = [
        Transformer(str(plain), transformer_task="fill-mask"), SpladePooling(), Normalize(),
    ]  # fmt: skip
    model = tmp_path / "m"
    SparseEncoder(modules=modules, device="cpu").save_pretrained(
        str(model), create_model_card=False
    )
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--output", "logits"
    )
    assert outcome.code == 2
    assert "the modules Transformer, SpladePooling, Normalize" in outcome.stderr


def test_options_of_embedding_models_are_refused(tmp_path: Path) -> None:
    model = zoo.build_sparse("bert", tmp_path / "m")
    for option in (["--pooling", "mean"], ["--layout", "fastembed"], ["--task", "text-ranking"]):
        outcome = embconvert(
            "all", "--model_id", model, "--output_parent_dir", tmp_path / "out", *option
        )
        assert outcome.code == 2
        assert "a sparse model (SPLADE)" in outcome.stderr
