"""Rerankers: graphs score pairs as sentence-transformers' CrossEncoder does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.errors import SourceError
from embconvert.models.kinds import Kind
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert, run_published
from support.exports import load

pytestmark = pytest.mark.integration

PAIRS = [
    (zoo.SENTENCES[n], zoo.SENTENCES[(7 * n + 3) % len(zoo.SENTENCES)])
    for n in range(len(zoo.SENTENCES))
] + [(zoo.SENTENCES[2], zoo.LONG_SENTENCE), (zoo.LONG_SENTENCE, zoo.LONG_SENTENCE), ("", "a")]


def theirs(model: Path) -> np.ndarray:
    import torch
    from sentence_transformers import CrossEncoder

    scores: np.ndarray = CrossEncoder(str(model), device="cpu").predict(
        PAIRS, activation_fn=torch.nn.Identity()
    )
    return scores.reshape(len(PAIRS), -1)


def ours(folder: Path, file: str) -> np.ndarray:
    scores: np.ndarray = run_published(folder, file, "logits", *zip(*PAIRS, strict=True))
    return scores


@pytest.mark.parametrize("architecture", zoo.RERANKERS)
def test_every_stage_scores_as_torch_does(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_reranker(architecture, tmp_path / architecture)
    every = ("Q8", "QInt8", "QUInt8", "QInt8Static", "Float16")
    precisions = every if architecture in ("bert", "deberta-v2", "qwen3") else ("QInt8", "Float16")
    outcome = convert(
        model, tmp_path / "out", "--quantize", ",".join(precisions), "--min_cosine", 0.9
    )
    folder = tmp_path / "out" / architecture
    wanted = theirs(model)
    for file in ("model.onnx", "model_opt1.onnx"):
        np.testing.assert_allclose(ours(folder, f"onnx/{file}"), wanted, atol=2e-4)
        figures = outcome.graph(file)["fidelity"]
        assert figures["rank_correlation"] > 0.9999
        assert figures["max_abs_diff"] < 1e-4
    for precision in precisions:
        figures = outcome.graph(f"model_opt1_{precision}.onnx")["fidelity"]
        assert 0.9 < figures["similarity"]["mean"] <= 1.0
        assert figures["rank_correlation"] > 0.9


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_decoder_without_pad_token_is_refused_with_what_to_set(file: str, tmp_path: Path) -> None:
    model = zoo.build_reranker("qwen3", tmp_path / "m")
    for name in ("config.json", "tokenizer_config.json", "special_tokens_map.json"):
        settings = json.loads((model / name).read_text())
        if (name == "config.json") is (file == "config.json"):
            settings = {k: v for k, v in settings.items() if not k.startswith("pad_token")}
        (model / name).write_text(json.dumps(settings))
    with pytest.raises(SourceError, match=r"has no pad.token") as raised:
        load(model, Kind.RERANKER)
    if file == "config.json":
        assert "set pad_token_id to 0 in a copy of config.json" in raised.value.hint
    else:
        assert "set pad_token in a copy of tokenizer_config.json" in raised.value.hint


@pytest.mark.parametrize("modules", [True, False])
def test_several_labels_and_the_activation_that_is_not_in_the_graph(
    modules: bool, tmp_path: Path
) -> None:
    model = zoo.build_reranker("bert", tmp_path / "m", labels=3, modules=modules)
    outcome = convert(model, tmp_path / "out", "--quantize", "QInt8")
    source = outcome.manifest["source"]["model"]
    assert (source["kind"], source["labels"]) == ("reranker", 3)
    assert source["activation"] == "torch.nn.modules.linear.Identity"
    assert outcome.graph("model.onnx")["outputs"] == [
        {"name": "logits", "dtype": "float", "shape": ["batch", 3]}
    ]
    np.testing.assert_allclose(
        ours(tmp_path / "out" / "m", "onnx/model.onnx"), theirs(model), atol=2e-4
    )
    card = (tmp_path / "out" / "m" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card


def test_token_types_tell_the_two_texts_apart(tmp_path: Path) -> None:
    """What bert's tokenizers give; a graph that is fed none of them would score otherwise."""
    model = zoo.build_reranker("bert", tmp_path / "bert")
    convert(model, tmp_path / "out", "--optimize", 0)
    folder = tmp_path / "out" / "bert"
    import onnxruntime
    from transformers import AutoTokenizer

    feed = AutoTokenizer.from_pretrained(folder)(
        *zip(*PAIRS, strict=True), padding=True, truncation=True, return_tensors="np"
    )
    assert feed["token_type_ids"].max() == 1
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"))
    feed["token_type_ids"][:] = 0
    wrong = session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})[0]
    assert np.abs(wrong - theirs(model)).max() > 0.1


def test_a_folder_is_found_again_verified_and_continued(tmp_path: Path) -> None:
    model = zoo.build_reranker("bert", tmp_path / "bert", activation="Sigmoid")
    first = convert(model, tmp_path / "out")
    assert "embconvert all --model_id" in first.manifest["tool"]["commands"][0]
    assert "--task" not in first.manifest["tool"]["commands"][0]
    folder = tmp_path / "out" / "bert"
    again = convert(model, tmp_path / "out", "--task", "text-ranking")
    assert "nothing was changed" in again.stderr

    quantized = embconvert(
        "quantize", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--quantize", "QInt8,Float16",
    )  # fmt: skip
    assert quantized.code == 0, quantized.stderr
    assert quantized.manifest["source"]["model"]["labels"] == 1
    assert "mean agreement" in quantized.stderr

    alone = embconvert("verify", folder)
    assert alone.code == 0, alone.stderr
    against = embconvert("verify", folder, "--against", model, "--json")
    assert against.code == 0, against.stderr
    graphs: list[dict[str, Any]] = json.loads(against.stdout)["graphs"]
    assert all(graph["fidelity"]["similarity"]["mean"] > 0.97 for graph in graphs)
    other = zoo.build_reranker("bert", tmp_path / "other", seed=1)
    another = embconvert("verify", folder, "--against", other)
    assert another.code == 3
    assert f"{other} is not" in another.stderr


def test_what_is_smallest_is_searched_and_no_float32_is_written(tmp_path: Path) -> None:
    model = zoo.build_reranker("roberta", tmp_path / "roberta")
    found = convert(model, tmp_path / "auto", "--quantize", "auto")
    search = found.manifest["search"]
    assert search["budget"] == "mean agreement at least 0.99"
    made = [c for c in search["candidates"] if c["outcome"] is None]
    assert len(made) == 1
    assert made[0]["similarity"]["mean"] >= 0.99
    alone = convert(model, tmp_path / "small", "--quantize", "QInt8", "--no_float32")
    graphs = [a["path"] for a in alone.manifest["artifacts"]]
    assert graphs == ["onnx/model_opt1_QInt8.onnx"]


def test_little_memory_gives_the_same_figures(tmp_path: Path) -> None:
    """Layer by layer, in half precision as many real ones are stored."""
    model = zoo.build_reranker("modernbert", tmp_path / "m", dtype="bfloat16")
    whole = convert(model, tmp_path / "whole")
    little = convert(model, tmp_path / "little", env=LITTLE_MEMORY)
    assert little.manifest["verification"]["execution"] == "layer by layer"
    for outcome in (whole, little):
        assert outcome.graph("model_opt1.onnx")["fidelity"]["max_abs_diff"] < 1e-4


@pytest.mark.parametrize(("options", "message", "hint"), [
    (["--pooling", "mean"], "--pooling is for embedding models", "remove --pooling"),
    (["--task", "feature-extraction"], "is a reranker (cross-encoder)", "--task text-class"),
    (["--layout", "nixiesearch"], "--layout nixiesearch does not support", "hub"),
    # Found when the tokenizer is loaded, before anything is made.
    (["--shape", "2x8"], "--shape 2x8 is too short: too few pairs", "at least --shape 2x"),
])  # fmt: skip
def test_a_wrong_combination_is_a_usage_error_with_the_right_one(
    options: list[str], message: str, hint: str, tmp_path: Path
) -> None:
    model = zoo.build_reranker("bert", tmp_path / "bert")
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out", *options
    )
    assert outcome.code == 2
    *_, error, hinted = outcome.stderr.splitlines()
    assert message in error
    assert hint in hinted
    assert not (tmp_path / "out").exists()


def test_a_reranker_without_its_head_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = zoo.build_reranker("bert", tmp_path / "bert")
    weights = load_file(model / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    outcome = embconvert("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 3
    assert "the weight classifier.weight is not in the model's files" in outcome.stderr
