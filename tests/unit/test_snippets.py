"""The code that shows how each program loads a graph."""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import yaml
from examples import published

from embconvert.manifest import ArtifactRecord, EmbeddingRecord, Manifest
from embconvert.models.choices import PoolingMode
from embconvert.models.values import FileRecord, TensorInfo
from embconvert.reporting.snippet_parts import Snippet
from embconvert.reporting.snippets import snippets


def code(folder: Path, manifest: Manifest, **changes: Any) -> dict[str, Snippet]:
    quantized: ArtifactRecord = replace(manifest.artifacts[2], **changes)
    return {s.key: s for s in snippets(manifest, quantized, folder, name="example-model")}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return published(tmp_path)


def test_every_program_has_its_own(tmp_path: Path, manifest: Manifest) -> None:
    assert list(code(tmp_path, manifest)) == [
        "sentence-transformers", "fastembed", "onnxruntime", "transformers.js",
        "text-embeddings-inference", "nixiesearch", "vespa",
    ]  # fmt: skip


def test_all_of_it_is_what_its_language_allows(tmp_path: Path, manifest: Manifest) -> None:
    for snippet in code(tmp_path, manifest).values():
        if snippet.language == "python":
            ast.parse(snippet.code)
        elif snippet.language == "yaml":
            assert yaml.safe_load(snippet.code)["inference"]["embedding"]["example-model"]
        elif snippet.language == "xml":
            assert fromstring(snippet.code).get("type") == "hugging-face-embedder"


def test_only_inputs_that_the_graph_has_are_fed(tmp_path: Path, manifest: Manifest) -> None:
    names = ("input_ids", "attention_mask", "position_ids")
    inputs = tuple(TensorInfo(name=n, dtype="int64", shape=("batch", "seq")) for n in names)
    found = code(tmp_path, manifest, inputs=inputs)
    assert "token_type_ids" not in found["onnxruntime"].code
    assert 'feed["position_ids"]' in found["onnxruntime"].code
    assert "<transformer-token-type-ids/>" in found["vespa"].code


def test_padding_follows_the_tokenizer(tmp_path: Path, manifest: Manifest) -> None:
    assert 'pad_token="[PAD]"' in code(tmp_path, manifest)["onnxruntime"].code
    config = {"pad_token": {"content": "</s>"}, "padding_side": "left"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    padding = code(tmp_path, manifest)["onnxruntime"].code
    assert 'token_to_id("</s>"), pad_token="</s>", direction="left"' in padding


def test_weights_in_a_file_of_their_own_are_named_or_the_program_is_left_out(
    tmp_path: Path, manifest: Manifest
) -> None:
    data = FileRecord(path="onnx/model_opt1_QInt8.onnx_data", sha256="0" * 64, size_bytes=9)
    found = code(tmp_path, manifest, external_data=data)
    assert data.path in found["fastembed"].code
    assert "vespa" not in found


def test_programs_that_pool_themselves_are_left_out_where_they_would_be_wrong(
    tmp_path: Path,
) -> None:
    for model in (
        EmbeddingRecord(pooling=(PoolingMode.LASTTOKEN,), dimension=384),
        EmbeddingRecord(pooling=(PoolingMode.MEAN,), dimension=128),
    ):
        assert "nixiesearch" not in code(tmp_path, published(tmp_path, model=model))


def test_a_graph_without_pooled_embeddings_has_none(tmp_path: Path, manifest: Manifest) -> None:
    tokens = manifest.artifacts[0].outputs[:1]
    assert code(tmp_path, manifest, outputs=tokens) == {}
