"""Prompts: what is verified, calibrated and published is what sentence-transformers computes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.manifest.codec import parse_manifest
from embconvert.reporting.home import Home
from embconvert.reporting.sample_texts import DOCUMENTS, QUERY, TEXTS
from embconvert.reporting.snippets import snippets
from support import zoo
from support.command_line import convert, embconvert
from support.exports import load
from support.prompts import give_prompts

pytestmark = pytest.mark.integration

INSTRUCTION = "Instruct: find texts that answer the question\nQuery: "
SEARCH = {"query": INSTRUCTION, "passage": "passage: ", "STS": "passage: "}


def vectors(folder: Path, texts: list[Any], output: str = "sentence_embedding") -> np.ndarray:
    """What a program makes of texts that has only tokenizer.json and the graph."""
    import onnxruntime
    from tokenizers import Tokenizer

    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(texts)
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"))
    arrays = {
        "input_ids": [e.ids for e in encodings],
        "attention_mask": [e.attention_mask for e in encodings],
        "token_type_ids": [e.type_ids for e in encodings],
    }
    feed = {i.name: np.array(arrays[i.name], np.int64) for i in session.get_inputs()}
    found: np.ndarray = session.run([output], feed)[0]
    return found


def shares(manifest: dict[str, Any]) -> dict[str, int]:
    return {share["prompt"]: share["texts"] for share in manifest["verification"]["prompts"]}


@pytest.mark.parametrize(("prompts", "default"), [
    (SEARCH, None), ({"all": 'say "x": ', "STS": "passage: "}, "all"),
])  # fmt: skip
def test_an_embedding_model_is_compared_with_each_prompt(
    prompts: dict[str, str], default: str | None, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = give_prompts(zoo.build_model("bert", tmp_path / "m"), prompts, default=default)
    outcome = convert(model, tmp_path / "out", "--optimize", 0)
    found = shares(outcome.manifest)
    assert set(found) == {"", *prompts.values()}
    assert sum(found.values()) == outcome.manifest["verification"]["texts"]
    assert max(found.values()) - min(found.values()) <= 1
    published = outcome.manifest["source"]["prompts"]
    assert {p["name"]: p["text"] for p in published["named"]} == {
        "query": "", "document": "", **prompts,
    }  # fmt: skip
    assert (published["default"], published["pooled"]) == (default, True)
    figures = outcome.graph("model.onnx")["fidelity"]
    assert figures["similarity"]["min"] > 0.99999

    chain = SentenceTransformer(str(model), device="cpu")
    texts = [*zoo.SENTENCES[:6], zoo.LONG_SENTENCE, ""]
    folder = tmp_path / "out" / "m"
    for name, text in prompts.items():
        ours = vectors(folder, [text + t for t in texts])
        np.testing.assert_allclose(ours, chain.encode(texts, prompt_name=name), atol=1e-4)
    usual = prompts[default] if default else ""
    ours = vectors(folder, [usual + t for t in texts])
    np.testing.assert_allclose(ours, chain.encode(texts), atol=1e-4)
    asked = [chain.encode(list(TEXTS))]
    if default is None:  # the code is of a search then
        asked = [chain.encode_query([QUERY]), chain.encode(DOCUMENTS[:1], prompt_name="passage")]
    of_card = run_code(folder, "onnxruntime", "embeddings.tolist()")
    np.testing.assert_allclose(of_card, np.concatenate(asked), atol=1e-4)


def test_a_published_folder_is_verified_with_its_prompts(tmp_path: Path) -> None:
    model = give_prompts(zoo.build_model("bert", tmp_path / "m"), {"query": "q: "})
    convert(model, tmp_path / "out", "--optimize", 0, "--quantize", "QInt8Static")
    folder = tmp_path / "out" / "m"
    alone = embconvert("verify", folder)
    assert alone.code == 0, alone.stderr
    against = embconvert("verify", folder, "--against", model)
    assert against.code == 0, against.stderr
    assert "with query" in against.stderr
    give_prompts(model, {"query": "another instruction: "})  # the export stays the same
    again = convert(model, tmp_path / "out", "--optimize", 0, "--quantize", "QInt8Static")
    assert "up to date" not in again.stderr


def run_code(folder: Path, key: str, values: str) -> Any:
    """Runs the card's code of a program, in the folder's parent; returns a value of it."""
    manifest = parse_manifest((folder / "embconvert.json").read_bytes())
    graph = next(a for a in manifest.artifacts if a.path == "onnx/model.onnx")
    home = Home(name=folder.name)
    (snippet,) = [s for s in snippets(manifest, graph, folder, home=home) if s.key == key]
    assert snippet.code in (folder / "README.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"{snippet.code}\nimport json\nprint(json.dumps({values}))"],
        cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_goes_wrong_only_with_a_prompt_is_noticed(tmp_path: Path) -> None:
    """A word that no built-in text has, and whose vector overflows in the first layer."""
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    model = zoo.build_model("bert", tmp_path / "m")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    (byte,) = {t for t in tokenizer.encode("\x01").ids if t > zoo.MASK_ID}
    weights = load_file(model / "model.safetensors")
    (name,) = [n for n in weights if n.endswith("word_embeddings.weight")]
    weights[name][byte] = 3e38
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    options = ("--optimize", 0, "--output_parent_dir", tmp_path / "out")
    without = embconvert("all", "--model_id", model, *options)
    assert without.code == 0, without.stderr
    assert "prompts:" not in without.stderr
    assert without.manifest["source"]["prompts"]["named"] == []
    assert without.manifest["verification"]["prompts"] == []
    give_prompts(model, {"query": "\x01"})
    failed = embconvert("all", "--model_id", model, *options)
    assert failed.code in (4, 8), failed.stderr
    assert "is not published" in failed.stderr


def test_a_reranker_reads_its_prompt_before_the_query(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    model = zoo.build_reranker("bert", tmp_path / "m", modules=True)
    give_prompts(model, {"web": "Given a question, find answers: "}, default="web")
    outcome = convert(model, tmp_path / "out", "--optimize", 0)
    assert set(shares(outcome.manifest)) == {"", "Given a question, find answers: "}
    pairs = [(zoo.SENTENCES[n], zoo.SENTENCES[n + 1]) for n in range(6)]
    pairs += [(zoo.SENTENCES[2], zoo.LONG_SENTENCE), (zoo.LONG_SENTENCE, "a")]
    scores = CrossEncoder(str(model), device="cpu").predict(
        pairs, activation_fn=torch.nn.Identity()
    )
    prompted = [("Given a question, find answers: " + a, b) for a, b in pairs]
    folder = tmp_path / "out" / "m"
    ours = vectors(folder, prompted, "logits")
    np.testing.assert_allclose(ours.ravel(), scores.ravel(), atol=1e-4)
    theirs = CrossEncoder(str(model), device="cpu").predict([(QUERY, d) for d in DOCUMENTS])
    scored = np.ravel(run_code(folder, "onnxruntime", "scores.tolist()"))
    np.testing.assert_allclose(scored, theirs.ravel(), atol=1e-4)


def test_a_sparse_model_with_prompts(tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    model = zoo.build_sparse("bert", tmp_path / "m")
    give_prompts(model, {"query": "q: ", "document": "d: "})
    outcome = convert(model, tmp_path / "out", "--optimize", 0)
    assert set(shares(outcome.manifest)) == {"", "q: ", "d: "}
    chain = SparseEncoder(str(model), device="cpu")
    texts = list(zoo.SENTENCES[:6])
    for prompt, encode in (("q: ", chain.encode_query), ("d: ", chain.encode_document)):
        theirs = encode(texts, convert_to_sparse_tensor=False).numpy()
        ours = vectors(tmp_path / "out" / "m", [prompt + t for t in texts])
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("prompts", "reason"), [
    ({str(n): "a" for n in range(1001)}, "1003 prompts"),
    ({"query": "a" * 20_001}, "20001 characters"),
])  # fmt: skip
def test_absurd_prompts_are_refused(
    tiny_bert: Path, prompts: dict[str, str], reason: str, tmp_path: Path
) -> None:
    import shutil

    model = shutil.copytree(tiny_bert, tmp_path / "m")
    give_prompts(model, prompts)
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 3, outcome.stderr
    assert reason in outcome.stderr


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "mean"), ("qwen3", "weightedmean")])
def test_prompts_that_the_pooling_leaves_out_are_recognized(
    architecture: str, pooling: str, tmp_path: Path
) -> None:
    """One batch may have several; a program has nothing to do but to put them before texts."""
    from sentence_transformers import SentenceTransformer

    model = zoo.build_model(architecture, tmp_path / "m", pooling=pooling)
    give_prompts(model, {"query": "Represent the question: ", "passage": "passage:"})
    settings = json.loads((model / "1_Pooling" / "config.json").read_text())
    (model / "1_Pooling" / "config.json").write_text(
        json.dumps(settings | {"include_prompt": False})
    )
    outcome = convert(model, tmp_path / "out", "--quantize", "Float16")
    assert outcome.manifest["source"]["prompts"]["pooled"] is False
    assert "2) at the beginning of a text" in outcome.stderr
    for file in ("model.onnx", "model_opt1.onnx"):
        assert outcome.graph(file)["fidelity"]["similarity"]["min"] > 0.9999
    card = (tmp_path / "out" / "m" / "README.md").read_text(encoding="utf-8")
    assert "recognize the prompts below" in card
    assert not re.search("^### (LangChain4j|Spring AI|Nixie|text-emb)", card, re.MULTILINE)
    chain = SentenceTransformer(str(model), device="cpu")
    texts = [*zoo.SENTENCES[:5], zoo.LONG_SENTENCE, ""]
    theirs = {name: chain.encode(texts, prompt_name=name) for name in ("query", "passage")}
    bare = chain.encode([chain.prompts["query"] + t for t in texts])
    assert np.abs(bare - theirs["query"]).max() > 0.01
    prompted = [chain.prompts[name] + t for name in theirs for t in texts]
    ours = vectors(tmp_path / "out" / "m", [*prompted, *texts])
    wanted = np.concatenate([*theirs.values(), chain.encode(texts)])
    np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_prompts_that_are_neither_pooled_nor_always_there_are_refused(tmp_path: Path) -> None:
    """sentence-transformers leaves as many tokens out where the prompt was cut off."""
    model = zoo.build_model("bert", tmp_path / "m")
    give_prompts(model, {"query": "query: "})
    for file, change in (
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("tokenizer_config.json", {"truncation_side": "left"}),
    ):
        path = model / file
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UnsupportedModelError, match="cut on the left"):
        load(model)
