"""What kind of model a source is, and what may be asked of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import TOKENIZER
from safetensors.numpy import save_file

from embconvert.errors import UnsupportedModelError, UsageError
from embconvert.models.choices import Command, Layout, Output, PoolingMode
from embconvert.models.kinds import KINDS, TASKS, Kind
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from embconvert.source.kind import settle_kind


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 64}')
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def head(model: Path, architecture: str) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))


def says(model: Path, model_type: str) -> None:
    path = model / "config_sentence_transformers.json"
    path.write_text(json.dumps({"model_type": model_type}))


def settled(model: Path, **options: Any) -> ResolvedModel:
    request = Request(command=Command.ALL, model_id="m", **options)
    return settle_kind(request, resolve_folder(model, model_id="m"))


def test_every_word_of_task_names_one_kind() -> None:
    words = [task for rules in KINDS.values() for task in rules.tasks]
    assert len(words) == len(set(words)) == len(TASKS)


def test_a_model_is_what_its_files_say(model: Path) -> None:
    assert settled(model).kind is Kind.EMBEDDING
    head(model, "BertForSequenceClassification")
    assert settled(model).kind is Kind.RERANKER
    says(model, "SentenceTransformer")
    assert settled(model).kind is Kind.EMBEDDING
    says(model, "CrossEncoder")
    assert settled(model).kind is Kind.RERANKER


def test_an_embedding_model_may_have_been_a_classifier(model: Path) -> None:
    head(model, "BertForSequenceClassification")
    transformer = "sentence_transformers.models.Transformer"
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": transformer}]))
    assert settled(model).kind is Kind.EMBEDDING


def test_a_kind_that_nobody_knows_is_refused_by_its_name(model: Path) -> None:
    says(model, "TimeMachine")
    with pytest.raises(UnsupportedModelError, match="m is a TimeMachine"):
        settled(model)
    embedding = settled(model, task="feature-extraction", pooling=PoolingMode.MEAN)
    assert embedding.kind is Kind.EMBEDDING


@pytest.mark.parametrize("task", KINDS[Kind.RERANKER].tasks)
def test_a_task_that_a_source_is_not_for_is_a_usage_error_with_the_right_one(
    task: str, model: Path
) -> None:
    with pytest.raises(UsageError, match="m is an embedding model") as caught:
        settled(model, task=task)
    assert "--task sentence-similarity" in caught.value.hint
    assert "...ForSequenceClassification" in caught.value.hint
    head(model, "BertForSequenceClassification")
    assert settled(model, task=task).kind is Kind.RERANKER


def test_a_reranker_becomes_an_embedding_model_only_when_both_are_said(model: Path) -> None:
    says(model, "CrossEncoder")
    with pytest.raises(
        UsageError, match="--task feature-extraction is for an embedding model"
    ) as e:
        settled(model, task="feature-extraction")
    assert "--task text-classification" in e.value.hint
    assert "--pooling mean" in e.value.hint
    with pytest.raises(UsageError, match="--pooling is for embedding models") as e:
        settled(model, pooling=PoolingMode.MEAN)
    assert "--task sentence-similarity" in e.value.hint
    both = settled(model, task="feature-extraction", pooling=PoolingMode.MEAN)
    assert both.kind is Kind.EMBEDDING


@pytest.mark.parametrize(("options", "message"), [
    ({"normalize": True}, "--normalize is for embedding models"),
    ({"dimensions": 8}, "--dimensions is for embedding models"),
    ({"force_dimensions": True}, "--force_dimensions is for embedding models"),
    ({"output": Output.SENTENCE}, "--output is for embedding models"),
    ({"layout": Layout.NIXIESEARCH}, "--layout nixiesearch is for other models"),
])  # fmt: skip
def test_options_that_change_nothing_of_a_reranker_are_refused(
    options: dict[str, Any], message: str, model: Path
) -> None:
    assert settled(model, **options).kind is Kind.EMBEDDING
    says(model, "CrossEncoder")
    with pytest.raises(UsageError, match=message):
        settled(model, **options)


def test_late_interaction_models_say_so_by_one_of_three_names(model: Path) -> None:
    for name in ("MultiVectorEncoder", "ColBERT"):
        says(model, name)
        assert settled(model).kind is Kind.LATE_INTERACTION
    (model / "config_sentence_transformers.json").unlink()
    assert settled(model).kind is Kind.EMBEDDING
    head(model, "HF_ColBERT")
    assert settled(model, task="multi-vector").kind is Kind.LATE_INTERACTION
    with pytest.raises(UsageError, match="--task fill-mask is for a sparse model"):
        settled(model, task="fill-mask")


def test_sparse_models_say_so_or_have_the_module_or_are_said_to_be(model: Path) -> None:
    head(model, "BertForMaskedLM")
    assert settled(model).kind is Kind.EMBEDDING  # as nearly every encoder's checkpoint is one
    assert settled(model, task="fill-mask").kind is Kind.SPARSE
    head(model, "BertModel")
    with pytest.raises(UsageError, match="--task fill-mask is for a sparse model") as caught:
        settled(model, task="fill-mask")
    assert "...ForMaskedLM" in caught.value.hint
    modules = [
        {"path": "", "type": "sentence_transformers.sparse_encoder.models.MLMTransformer"},
        {"path": "1", "type": "sentence_transformers.sparse_encoder.models.SpladePooling"},
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    assert settled(model).kind is Kind.SPARSE
    says(model, "SparseEncoder")
    assert settled(model).kind is Kind.SPARSE
