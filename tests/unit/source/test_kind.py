"""What kind of model a source is, and what may be asked of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from embconvert.errors import UnsupportedModelError, UsageError
from embconvert.models.choices import Command, Inputs, Layout, Output, PoolingMode
from embconvert.models.forms import TokenizerPlace
from embconvert.models.kinds import KINDS, TASKS, Kind
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from embconvert.source.kind import heads_left_out, settle_kind
from support.examples import TOKENIZER


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
    with pytest.raises(UnsupportedModelError, match="m is a TimeMachine") as refused:
        settled(model)
    assert "remove model_type from a copy of config_sentence" in refused.value.hint
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
    ({"output": Output.SENTENCE}, "--output sentence is for an embedding model"),
    ({"layout": Layout.NIXIESEARCH}, "--layout nixiesearch does not support"),
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


def test_token_logits_are_an_output_of_sparse_models_for_programs_that_pool_them(
    model: Path,
) -> None:
    head(model, "BertForMaskedLM")
    with pytest.raises(UsageError, match="--output logits is for a sparse model") as refusal:
        settled(model, output=Output.LOGITS)
    assert "a masked language model is a sparse model with --task fill-mask" in refusal.value.hint
    for layout in (Layout.HUB, Layout.FASTEMBED, Layout.VESPA, Layout.SINGLEFILE):
        assert settled(model, task="fill-mask", output=Output.LOGITS, layout=layout)
    with pytest.raises(UsageError, match="does not support a sparse model") as refusal:
        settled(model, task="fill-mask", layout=Layout.FASTEMBED)
    assert "with --output logits also fastembed" in refusal.value.hint
    with pytest.raises(UsageError, match="--layout tei does not support") as refusal:
        settled(model, task="fill-mask", output=Output.LOGITS, layout=Layout.TEI)
    assert "with --output" not in refusal.value.hint
    with pytest.raises(UsageError, match="--output sentence is for an embedding model") as refusal:
        settled(model, task="fill-mask", output=Output.SENTENCE)
    assert refusal.value.hint == "remove --output, or write --output logits"


def test_static_embeddings_are_embeddings_without_a_pooling_of_their_own(model: Path) -> None:
    module = {"path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    (model / "modules.json").write_text(json.dumps([module]))
    save_file({"embedding.weight": np.zeros((4, 4))}, model / "model.safetensors")
    assert settled(model).kind is Kind.EMBEDDING
    with pytest.raises(UsageError, match="the mean of their tokens' vectors"):
        settled(model, pooling=PoolingMode.CLS)
    with pytest.raises(UsageError, match="does not support static embeddings") as refusal:
        settled(model, layout=Layout.TEI)
    assert "hub, singlefile" in refusal.value.hint
    says(model, "SparseEncoder")
    with pytest.raises(UnsupportedModelError, match="of static embeddings"):
        settled(model)


def test_one_weight_per_token_is_a_sparse_model(model: Path) -> None:
    kind = "sentence_transformers.sparse_encoder.models.SparseStaticEmbedding"
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": kind}]))
    save_file({"weight": np.zeros(4)}, model / "model.safetensors")
    (model / "config.json").write_text("{}")
    assert settled(model).kind is Kind.SPARSE
    with pytest.raises(UsageError, match="does not support a sparse model"):
        settled(model, layout=Layout.TEI)
    says(model, "SentenceTransformer")
    with pytest.raises(UnsupportedModelError, match="of a table of one weight per token"):
        settled(model)


def test_a_model_of_images_is_for_programs_that_do_not_go_by_its_configuration(model: Path) -> None:
    config = {"model_type": "clip", "text_config": {}, "vision_config": {}}
    (model / "config.json").write_text(json.dumps(config))
    assert settled(model, layout=Layout.SINGLEFILE).left_out == ("images",)
    with pytest.raises(UsageError, match="does not support models that also read images") as caught:
        settled(model, layout=Layout.FASTEMBED)
    assert "--layout can be hub, singlefile" in caught.value.hint


def test_parameters_are_those_that_read_text(model: Path) -> None:
    config = {"model_type": "clip", "text_config": {}, "vision_config": {}}
    (model / "config.json").write_text(json.dumps(config))
    weights = {"text_model.a": np.zeros((4, 4)), "vision_model.a": np.zeros((99, 9))}
    save_file(weights, model / "model.safetensors")
    assert settled(model).parameters == 16


@pytest.mark.parametrize("revision", ["0" * 40, None], ids=["hub", "folder"])
@pytest.mark.parametrize("name", ["bge-reranker-v2-gemma", "zerank-1", "my-re-rank"])
def test_a_language_model_that_is_called_a_reranker_is_no_embedding_model(
    model: Path, name: str, revision: str | None
) -> None:
    head(model, "GemmaForCausalLM")
    parent = model.with_name(f"{model.name}-named")
    parent.mkdir()
    folder = model.rename(parent / (name if revision is None else "0123"))

    def settle(**options: Any) -> Kind:
        request = Request(command=Command.ALL, model_id=f"x/{name}", **options)
        found = resolve_folder(folder, model_id=f"x/{name}", revision=revision)
        return settle_kind(request, found).kind

    with pytest.raises(UnsupportedModelError, match="is called a reranker") as caught:
        settle()
    assert "LogitScore" in caught.value.hint
    assert settle(task="sentence-similarity") is Kind.EMBEDDING
    other = folder.rename(folder.with_name("other"))
    assert settled(other).kind is Kind.EMBEDDING


def test_a_reranker_with_a_chat_template_is_for_programs_that_apply_it(model: Path) -> None:
    head(model, "BertForSequenceClassification")
    named = {"method": "forward", "method_output_name": "logits"}
    (model / "modules.json").write_text(
        json.dumps([{"path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    says(model, "CrossEncoder")
    (model / "sentence_bert_config.json").write_text(
        json.dumps({"modality_config": {"message": named}, "module_output_name": "scores"})
    )
    assert settled(model).kind is Kind.RERANKER
    with pytest.raises(UsageError, match="with a chat template"):
        settled(model, layout=Layout.TEI)


HEADS = ("colbert_linear.pt", "sparse_linear.pt")


def has_heads(model: Path, *files: str) -> None:
    for file in files or HEADS:
        (model / file).write_bytes(b"is not read yet")


@pytest.mark.parametrize("files", [HEADS, HEADS[:1], HEADS[1:]])
def test_a_model_with_a_head_is_hybrid(model: Path, files: tuple[str, ...]) -> None:
    has_heads(model, *files)
    found = settled(model)
    assert (found.kind, found.head_files) == (Kind.HYBRID, files)
    says(model, "SentenceTransformer")
    assert settled(model).kind is Kind.HYBRID
    assert settled(model, pooling=PoolingMode.CLS, dimensions=2).kind is Kind.HYBRID


def test_other_kinds_and_other_files_make_no_hybrid_model(model: Path) -> None:
    (model / "linear.pt").write_bytes(b"")
    assert settled(model).kind is Kind.EMBEDDING
    with pytest.raises(UsageError, match="m is an embedding model") as caught:
        settled(model, task="hybrid")
    assert "sparse_linear.pt or colbert_linear.pt" in caught.value.hint
    has_heads(model)
    says(model, "CrossEncoder")
    assert settled(model).kind is Kind.RERANKER


def left_out(model: Path, **options: Any) -> str | None:
    request = Request(command=Command.ALL, model_id="m", **options)
    resolved = settle_kind(request, resolve_folder(model, model_id="m"))
    return heads_left_out(request, resolved)


def test_heads_that_are_left_out_are_named_with_the_reason(model: Path) -> None:
    assert left_out(model) is None
    has_heads(model)
    assert left_out(model) is None
    asked = left_out(model, task="sentence-similarity")
    assert asked is not None
    assert "not colbert_linear.pt, sparse_linear.pt: --task hybrid" in asked
    given = left_out(model, model_path=Path("of-another-program.onnx"))
    assert given is not None
    assert "--model_path is compared as" in given
    assert left_out(model, model_path=Path("onnx/model.onnx"), task="hybrid") is None
    served = left_out(model, layout=Layout.TEI)
    assert served is not None
    assert "--layout tei reads one output; hub, transformersjs, singlefile, openvino" in served
    with pytest.raises(UsageError, match="--layout tei does not support a hybrid model"):
        left_out(model, layout=Layout.TEI, task="hybrid")


@pytest.mark.parametrize("layout", Layout)
def test_every_layout_gets_the_outputs_that_its_program_reads(model: Path, layout: Layout) -> None:
    has_heads(model)
    several = layout in KINDS[Kind.HYBRID].layouts
    assert settled(model, layout=layout).kind is (Kind.HYBRID if several else Kind.EMBEDDING)


@pytest.mark.parametrize(
    ("model_type", "architectures"),
    [
        ("colmodernvbert", ["ColModernVBertForRetrieval"]),
        ("colpali", ["ColQwen2ForRetrieval"]),
        ("bert", ["ColQwen2ForRetrieval"]),
        ("colqwen2", ["BertModel", "ColQwen2ForRetrieval"]),
    ],
)
def test_other_retrievers_of_images_are_refused(
    model: Path, model_type: str, architectures: list[str]
) -> None:
    config = {"model_type": model_type, "architectures": architectures}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="is a retriever of images") as caught:
        settled(model)
    assert "ColQwen2ForRetrieval" in caught.value.hint


def test_only_static_embeddings_read_the_tokens_of_a_batch_in_a_row(model: Path) -> None:
    with pytest.raises(UsageError, match="--inputs input_ids,offsets is for static embeddings"):
        settled(model, inputs=Inputs.IN_A_ROW)
    module = {"path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    (model / "modules.json").write_text(json.dumps([module]))
    save_file({"embedding.weight": np.zeros((4, 4))}, model / "model.safetensors")
    assert settled(model, inputs=Inputs.IN_A_ROW).static is not None


def test_the_tokenizer_of_the_transformer_decides_whether_it_can_be_in_a_graph(
    tmp_path: Path,
) -> None:
    """Of a model whose transformer has a folder of its own, another one is not read."""
    inner = tmp_path / "0_Transformer"
    inner.mkdir()
    (inner / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 64}')
    save_file({"weight": np.zeros((4, 4), np.float32)}, inner / "model.safetensors")
    entry = {"idx": 0, "name": "0", "path": inner.name}
    entry["type"] = "sentence_transformers.models.Transformer"
    (tmp_path / "modules.json").write_text(json.dumps([entry]))
    words: dict[str, Any] = {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a"}
    words |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    (inner / "tokenizer.json").write_text(json.dumps({"model": words}))
    (tmp_path / "tokenizer.json").write_text("{}")  # nobody checks it, as nobody reads it
    assert settled(tmp_path, tokenizer=TokenizerPlace.IN_GRAPH).kind is Kind.EMBEDDING
    (inner / "tokenizer.json").write_text(TOKENIZER)
    with pytest.raises(UsageError, match="the tokenizer's algorithm is WordLevel"):
        settled(tmp_path, tokenizer=TokenizerPlace.IN_GRAPH)
