"""Inference-free sparse models: queries are looked up in a table, documents go through SPLADE."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embconvert.errors import SourceError
from embconvert.json_files import write_json
from embconvert.models.choices import Command, Precision
from embconvert.models.kinds import Kind
from embconvert.pipeline.freshness import current_manifest
from embconvert.request.records import Request
from support import zoo
from support.asymmetric import build_inference_free, only_query_route
from support.command_line import Outcome, convert, embconvert, files_in, run_published
from support.exports import export, load

pytestmark = pytest.mark.integration

KIND = "SparseStaticEmbedding"
QUERY = f"query_0_{KIND}"
#: Words, unknown ones, a repeated one, a special token in a text, nothing, and a long text.
TEXTS = [
    *zoo.SENTENCES,
    "\U0001f995 \u4e16",
    "the the the",
    "the <pad> <s> the",
    "",
    zoo.LONG_SENTENCE,
]


def encoder(model: Path) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(model), device="cpu")


def theirs(model: Path, route: str) -> np.ndarray:
    """What sentence-transformers computes with the whole source, one text after the other."""
    chain = encoder(model)
    call = {"query": chain.encode_query, "document": chain.encode_document}[route]
    vectors: np.ndarray = call(TEXTS, batch_size=1, convert_to_sparse_tensor=False).numpy()
    return vectors


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("parts")
    return build_inference_free(tmp_path_factory.mktemp("source") / "model", scratch)


@pytest.fixture(scope="module")
def converted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    parent = tmp_path_factory.mktemp("out")
    return convert(model, parent), parent / "model"


def test_each_side_gives_the_vectors_of_its_own_call(
    model: Path, converted: tuple[Outcome, Path]
) -> None:
    _, folder = converted
    wanted = theirs(model, "query")
    assert len(np.unique(np.count_nonzero(wanted, axis=1))) > 3
    for file in ("onnx/model.onnx", "onnx/model_opt1.onnx"):
        found = run_published(folder / "query", file, "sentence_embedding", TEXTS)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    for file in ("onnx/model.onnx", "onnx/model_opt1.onnx"):
        found = run_published(folder / "document", file, "sentence_embedding", TEXTS)
        np.testing.assert_allclose(found, theirs(model, "document"), atol=2e-4)
    manifest = json.loads((folder / "query" / "embconvert.json").read_text())
    source = manifest["source"]
    assert (source["model_type"], source["modules"]) == (KIND, [KIND])
    assert source["model"] == {
        "kind": "sparse", "pooling": [], "dimension": zoo.VOCAB_SIZE, "similarity": "dot",
        "max_active_dims": None, "strategy": None, "activation": None,
    }  # fmt: skip
    assert [i["name"] for i in manifest["artifacts"][0]["inputs"]] == [
        "input_ids", "attention_mask",
    ]  # fmt: skip


def test_idf_json_alone_gives_the_same_vectors(
    model: Path, converted: tuple[Outcome, Path]
) -> None:
    from tokenizers import Tokenizer

    folder = converted[1] / "query"
    weights = json.loads((folder / "idf.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert weights.keys() == tokenizer.get_vocab().keys()
    for text, vector in zip(TEXTS, theirs(model, "query"), strict=True):
        found = {token: weights[token] for token in tokenizer.encode(text).tokens}
        wanted = {tokenizer.id_to_token(int(n)): float(vector[n]) for n in np.flatnonzero(vector)}
        assert found == wanted


def test_the_cards_code_gives_the_scores_of_sentence_transformers(
    model: Path, converted: tuple[Outcome, Path]
) -> None:
    _, folder = converted
    chain = encoder(model)
    (both,) = codes(folder / "README.md")
    query, *documents = re.findall(r'^    "(.*)",$', both, re.MULTILINE)
    sides = [chain.encode_query([query]), chain.encode_document(documents)]
    scores = chain.similarity(*sides).to_dense().numpy()
    found = [float(n) for n in re.findall(r"-?\d+\.\d*", printed(both, folder.parent))]
    np.testing.assert_allclose(found, scores.ravel(), rtol=1e-4)
    graph, table = codes(folder / "query" / "README.md")
    assert "idf.json" in table
    assert "id_to_token" in graph
    texts = re.findall(r'^    "(.*)",$', table, re.MULTILINE)
    decoded = [dict(pairs) for pairs in chain.decode(chain.encode_query(texts))]
    for line, wanted in zip(printed(table, folder).splitlines(), decoded, strict=True):
        assert json.loads(line.replace("'", '"')) == pytest.approx(wanted)
    printed(graph, folder)


def codes(card: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)


def printed(code: str, where: Path) -> str:
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=where, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_table_is_verified_and_reused(
    model: Path, converted: tuple[Outcome, Path], tmp_path: Path
) -> None:
    _, folder = converted
    before = files_in(folder)
    again = convert(model, folder.parent)
    assert again.stderr.count("is up to date; nothing was changed") == 2
    write_json(tmp_path / "list.yaml", {"models": [str(model)]})
    batch = embconvert("batch", tmp_path / "list.yaml", "--output_parent_dir", folder.parent)
    assert "1 up to date" in batch.stderr
    assert files_in(folder) == before
    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr
    assert verified.stdout.count("query: ") == 2
    damaged = tmp_path / "model"
    shutil.copytree(folder, damaged)
    (damaged / "query" / "idf.json").write_text("{}")
    assert "query is damaged: idf.json" in embconvert("verify", damaged).stderr


def test_padding_on_either_side_and_weights_of_zero_or_less(tmp_path: Path) -> None:
    """From idf.json, in which most words are missing, without a router."""
    import onnxruntime

    built = build_inference_free(
        tmp_path / "m", tmp_path / "parts", weights={"a": -2.5, "t": 0.5, "<pad>": 3.0}
    )
    source = load(only_query_route(built, tmp_path / "alone"), kind=Kind.SPARSE)
    session = onnxruntime.InferenceSession(str(export(source, tmp_path / "model.onnx")))
    a, t, e, pad = (source.tokenizer.convert_tokens_to_ids(c) for c in ("a", "t", "e", "<pad>"))
    rows = {
        (a, t, a, e): {a: -2.5, t: 0.5},
        (pad, t): {pad: 3.0, t: 0.5},
        (e,): {},
        (): {},
    }
    for left in (False, True):
        ids, mask = np.full((2, len(rows), 5), [[[pad]], [[0]]], dtype=np.int64)
        for row, tokens in enumerate(rows):
            where = slice(5 - len(tokens), 5) if left else slice(0, len(tokens))
            ids[row, where], mask[row, where] = tokens, 1
        (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
        for row, wanted in zip(found, rows.values(), strict=True):
            assert {int(n): float(row[n]) for n in np.flatnonzero(row)} == wanted


def test_the_limit_and_prompts_of_queries(tmp_path: Path) -> None:
    built = build_inference_free(
        tmp_path / "m", tmp_path / "parts", dtype="float16", prompts={"query": "find: "}
    )
    config = built / QUERY / "tokenizer_config.json"
    write_json(config, {**json.loads(config.read_text()), "model_max_length": 7})
    options = ("--route", "query", "--quantize", "Q8", "--no_float32")
    outcome = convert(built, tmp_path / "out", *options)
    assert "nothing is quantized" in outcome.stderr
    folder = tmp_path / "out" / "m" / "query"
    assert [path.name for path in sorted((folder / "onnx").iterdir())] == [
        "model.onnx", "model_opt1.onnx",
    ]  # fmt: skip
    manifest = json.loads((folder / "embconvert.json").read_text())
    assert manifest["source"]["max_seq_length"] == 7
    request = Request(
        command=Command.ALL, model_id=str(built), route="query", quantize=(Precision.Q8,)
    )
    assert current_manifest(request, folder, built) is not None
    texts = [f"find: {text}" for text in TEXTS]
    found = run_published(folder, "onnx/model.onnx", "sentence_embedding", texts)
    wanted = theirs(built, "query")
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.count_nonzero(wanted, axis=1).max() <= 7
    quantized = embconvert(
        "quantize", "--model_id", built, "--route", "query", "--quantize", "Q8",
        "--output_parent_dir", tmp_path / "out",
    )  # fmt: skip
    assert quantized.code == 0, quantized.stderr
    assert "nothing is quantized" in quantized.stderr


def test_weights_that_fit_nothing_are_refused(model: Path, tmp_path: Path) -> None:
    alone = only_query_route(model, tmp_path / "alone")
    weights = load_file(alone / "model.safetensors")["weight"]
    for wrong, message in (
        (weights[None], "no list of one weight per token"),
        (weights[:-1], "the model cannot be loaded"),
        (np.where(weights == weights.max(), np.inf, weights), "has no finite weight"),
    ):
        save_file({"weight": np.ascontiguousarray(wrong)}, alone / "model.safetensors")
        with pytest.raises(SourceError, match=message):
            load(alone, kind=Kind.SPARSE).save_own_files(tmp_path)
    save_file({"weight": weights}, alone / "model.safetensors")
    declared = (alone / "config_sentence_transformers.json").read_text()
    (alone / "config_sentence_transformers.json").unlink()
    with pytest.raises(SourceError, match="does not say that this is a SparseEncoder"):
        load(alone, kind=Kind.SPARSE)
    (alone / "config_sentence_transformers.json").write_text(declared)
    (tmp_path / "secret.json").write_text("{}")
    write_json(alone / "config.json", {"path": str(tmp_path / "secret.json")})
    with pytest.raises(SourceError, match="names a file of weights anywhere"):
        load(alone, kind=Kind.SPARSE)
