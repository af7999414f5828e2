"""What OpenSearch's ML Commons registers."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.folder.opensearch import ARCHIVE, REGISTRATION, archive, registration
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.models.choices import PoolingMode
from embconvert.models.prompts import Prompt, Prompts
from embconvert.models.values import TensorInfo
from support.examples import graph, manifest_of


def inputs(*names: str) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(name=n, dtype="int64", shape=("batch", "seq")) for n in names)


def config_of(tmp_path: Path, *names: str, **source: Any) -> dict[str, Any]:
    served = replace(graph(tmp_path, "model", 1), path="model.onnx", inputs=inputs(*names))
    config: dict[str, Any] = registration(manifest_of(served, **source), "0" * 64)["model_config"]
    return config


def test_the_zip_has_what_ml_commons_looks_for_and_its_hash_is_in_the_request(
    tmp_path: Path,
) -> None:
    manifest = manifest_of(replace(graph(tmp_path, "model", 1), path="model.onnx"))
    (tmp_path / "model.onnx").write_bytes(b"graph" * 1000)
    archive(tmp_path, manifest)
    assert not (tmp_path / "opensearch").exists()  # without a tokenizer there is nothing to zip
    (tmp_path / "tokenizer.json").write_text("{}")
    archive(tmp_path, manifest)
    content = (tmp_path / ARCHIVE).read_bytes()
    with zipfile.ZipFile(tmp_path / ARCHIVE) as pack:
        assert pack.namelist() == ["model.onnx", "tokenizer.json"]
        assert pack.read("model.onnx") == (tmp_path / "model.onnx").read_bytes()
    request = json.loads((tmp_path / REGISTRATION).read_text())
    assert request["model_content_hash_value"] == hashlib.sha256(content).hexdigest()
    assert (request["model_format"], request["function_name"]) == ("ONNX", "TEXT_EMBEDDING")
    archive(tmp_path, manifest)
    assert (tmp_path / ARCHIVE).read_bytes() == content  # so that a folder stays up to date


def test_model_type_decides_whether_opensearch_sends_token_types(tmp_path: Path) -> None:
    two = ("input_ids", "attention_mask")
    assert config_of(tmp_path, *two, "token_type_ids")["model_type"] == "bert"
    assert config_of(tmp_path, *two)["model_type"] not in ("bert", "albert")


@pytest.mark.parametrize(("modes", "modules", "pooling", "normalizes"), [
    ((PoolingMode.MEAN,), ("Transformer", "Pooling", "Normalize"), "MEAN", True),
    ((PoolingMode.CLS,), ("Transformer", "Pooling"), "CLS", False),
    ((PoolingMode.LASTTOKEN,), ("Transformer", "Pooling", "Normalize"), "LAST_TOKEN", True),
    # Else OpenSearch takes the graph's own embeddings.
    ((PoolingMode.MEAN,), ("Transformer", "Pooling", "Dense", "Normalize"), "NONE", False),
    ((PoolingMode.WEIGHTEDMEAN,), ("Transformer", "Pooling"), "NONE", False),
    ((PoolingMode.MEAN, PoolingMode.MAX), ("Transformer", "Pooling"), "NONE", False),
    ((), (), "NONE", False),
])  # fmt: skip
def test_pooling_is_the_models_or_none(
    tmp_path: Path,
    modes: tuple[PoolingMode, ...],
    modules: tuple[str, ...],
    pooling: str,
    normalizes: bool,
) -> None:
    model = EmbeddingRecord(pooling=modes, dimension=384)
    config = config_of(tmp_path, model=model, modules=modules)
    assert (config["pooling_mode"], config["normalize_result"]) == (pooling, normalizes)


def test_prompts_become_prefixes(tmp_path: Path) -> None:
    prompts = Prompts(
        named=(Prompt(name="query", text="query: "), Prompt(name="passage", text="passage: "))
    )
    config = config_of(tmp_path, prompts=prompts)
    assert (config["query_prefix"], config["passage_prefix"]) == ("query: ", "passage: ")
    assert "query_prefix" not in config_of(tmp_path)
