"""Language models that are rerankers, though only their card says how they score."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.models.adapters import LoraSettings
from embconvert.models.choices import Command, Layout, PoolingMode
from embconvert.models.kinds import Kind
from embconvert.models.reranker_templates import (
    RERANKER_TEMPLATES,
    NextToken,
    RerankerTemplate,
)
from embconvert.models.source_records import AdapterRecord, FileRecord
from embconvert.models.values import ResolvedAdapter, ResolvedModel
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from embconvert.source.kind import settle_kind
from embconvert.source.private_copy import make_private_copy
from embconvert.source.untold_rerankers import describe, set_words, settle_template
from support.corpus import edit
from support.examples import TOKENIZER


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "zerank-2"
    folder.mkdir()
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 4}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(TOKENIZER)
    chat = {"chat_template": "chat", "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps(chat))
    (folder / "chat_template.jinja").write_text("chat")
    save_file({"weight": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    return folder


def settled(model: Path, *, trust_remote_code: bool = False, **options: Any) -> ResolvedModel:
    request = Request(command=Command.ALL, model_id=str(model), **options)
    found = resolve_folder(model, model_id=str(model), trust_remote_code=trust_remote_code)
    return settle_kind(settle_template(request, found), found)


def test_a_known_name_is_enough_and_the_option_is_for_others(model: Path) -> None:
    by_name = settled(model)
    assert by_name.kind is Kind.RERANKER
    assert by_name.template is RERANKER_TEMPLATES["zerank"]
    other = model.rename(model.with_name("my-reranker"))
    with pytest.raises(UnsupportedModelError, match="my-reranker is called a reranker") as caught:
        settled(other)
    assert "--reranker_template qwen3-reranker or" in caught.value.hint
    chosen = settled(other, reranker_template="qwen3-reranker")
    assert chosen.template is RERANKER_TEMPLATES["qwen3-reranker"]
    plain = other.rename(other.with_name("plain"))
    assert settled(plain).kind is Kind.EMBEDDING
    assert settled(plain, reranker_template="zerank").kind is Kind.RERANKER


def test_the_name_is_that_of_the_folder_where_the_user_is(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model)
    found = resolve_folder(model, model_id=".")
    request = settle_template(Request(command=Command.ALL, model_id="."), found)
    assert request.reranker_template == "zerank"
    other = model.rename(model.with_name("my-reranker"))
    with pytest.raises(UnsupportedModelError, match="my-reranker is called a reranker"):
        settle_kind(Request(command=Command.ALL, model_id="."), resolve_folder(other, model_id="."))


def test_an_adapter_that_is_called_a_reranker_makes_no_embedding_model(model: Path) -> None:
    plain = model.rename(model.with_name("plain"))
    weights = FileRecord(path="adapter_model.safetensors", sha256="0" * 64, size_bytes=1)
    record = AdapterRecord(adapter="me/my-reranker-lora", revision="0" * 40, files=(weights,))
    adapter = ResolvedAdapter(
        record=record, weights=plain / "none", settings=LoraSettings(rank=1, alpha=1.0)
    )
    found = replace(resolve_folder(plain, model_id=str(plain)), adapters=(adapter,))
    request = Request(command=Command.ALL, model_id=str(plain))
    with pytest.raises(UnsupportedModelError, match="my-reranker-lora is called a reranker"):
        settle_kind(request, found)
    assert settle_kind(replace(request, task="feature-extraction"), found).kind is Kind.EMBEDDING
    asked = replace(request, reranker_template="zerank")
    assert settle_kind(asked, found).kind is Kind.RERANKER


def test_a_template_is_said_in_one_line_with_what_its_card_does_more() -> None:
    line = describe(RERANKER_TEMPLATES["zerank"])
    assert "\n" not in line
    assert "card of zeroentropy/zerank-2" in line
    assert '"Yes"' in line
    assert "divides the logits by 5" in line
    assert "--reranker_template zerank" in line
    assert '"yes" minus "no"' in describe(RERANKER_TEMPLATES["qwen3-reranker"])


@pytest.mark.parametrize(("options", "message"), [
    ({"reranker_template": "zerank", "task": "feature-extraction"}, "is for rerankers, and --task"),
    ({"reranker_template": "zerank", "task": "feature-extraction", "pooling": PoolingMode.MEAN},
     "is for rerankers, and --task"),
    ({"reranker_template": "<script>"}, "'<script>' is unknown"),
    ({"reranker_template": "zerank", "layout": Layout.TEI}, "--layout can be hub, "),
    ({"task": "text-ranking", "layout": Layout.FASTEMBED}, "--layout can be hub, "),
])  # fmt: skip
def test_options_that_do_not_fit_a_template_are_refused(
    options: dict[str, Any], message: str, model: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        settled(model, **options)
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_the_name_decides_nothing_when_another_model_is_asked_for(model: Path) -> None:
    embedding = settled(model, task="feature-extraction")
    assert (embedding.kind, embedding.template) == (Kind.EMBEDDING, None)


@pytest.mark.parametrize("name", ["zerank", None])
def test_a_model_whose_files_say_how_it_scores_is_left_alone(name: str | None, model: Path) -> None:
    transformer = "sentence_transformers.base.modules.transformer.Transformer"
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": transformer}]))
    if name is None:
        assert settled(model).template is None
        return
    with pytest.raises(UsageError, match=r"has modules\.json"):
        settled(model, reranker_template=name)


def test_a_classifier_is_none(model: Path) -> None:
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForSequenceClassification"]}
    (model / "config.json").write_text(json.dumps(config))
    assert settled(model).template is None
    with pytest.raises(UsageError, match="is no language model"):
        settled(model, reranker_template="zerank")


PAIR = "{{ messages | selectattr('role', 'eq', 'query') }}{{ m.role == \"document\" }}"


def say(model: Path, **config: Any) -> Path:
    """Adds keys to config.json, and a chat template for pairs to the tokenizer."""
    edit(model / "config.json", **config)
    (model / "chat_template.jinja").write_text(PAIR)
    return model


@pytest.mark.parametrize("name", ["my-model", "zerank-2"])
def test_words_and_template_in_the_files_are_enough(name: str, model: Path, tmp_path: Path) -> None:
    """Also for a model that is known by its name."""
    said = {"classifier_from_token": ["no", "yes"], "method": "from_2_way_softmax"}
    found = settled(say(model.rename(model.with_name(name)), **said))
    assert found.kind is Kind.RERANKER
    assert found.template == NextToken(true="yes", false="no", are_entries=True)
    assert '"yes" minus "no", as classifier_from_token in config.json' in describe(found.template)
    folder = make_private_copy(found, tmp_path / "copy")
    assert (folder / "chat_template.jinja").read_text() == PAIR
    transformer = json.loads((folder / "sentence_bert_config.json").read_text())
    assert transformer["processing_kwargs"] == {"chat_template": {"add_generation_prompt": False}}


def test_words_in_the_files_go_before_those_of_a_template(model: Path) -> None:
    say(model, classifier_from_token=["0", "1"], is_original_qwen3_reranker=True)
    (model / "chat_template.jinja").write_text("chat")
    template = settled(model).template
    assert isinstance(template, RerankerTemplate)
    assert (template.name, template.true, template.false) == ("zerank", "1", "0")
    assert "the words are those of classifier_from_token" in describe(template)
    other = model.rename(model.with_name("my-model"))
    with pytest.raises(UnsupportedModelError, match="no chat template for messages of a query"):
        settled(other)
    assert settled(other, task="feature-extraction").kind is Kind.EMBEDDING


@pytest.mark.parametrize(("said", "words"), [
    ({"classifier_from_token": ["Yes"], "method": "no_post_processing"}, ("Yes", None)),
    # vLLM ignores these as well.
    ({"classifier_from_token": ["no", "yes"]}, None),
    ({"method": "from_2_way_softmax"}, None),
    ({"classifier_from_token": ["no", "yes"], "method": "os.system"}, None),
])  # fmt: skip
def test_which_words_config_json_says(
    said: dict[str, Any], words: tuple[str, str | None] | None, model: Path
) -> None:
    template = settled(say(model.rename(model.with_name("my-model")), **said)).template
    assert (template and (template.true, template.false)) == words


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(("words", "method", "message"), [
    ("no", "from_2_way_softmax", "classifier_from_token"),
    ([["no"], 1], "from_2_way_softmax", "classifier_from_token"),
    ([], "from_2_way_softmax", "should be a list of words"),
    (["no", "x" * 1000], "from_2_way_softmax", "should be a list of words"),
    (["no", "maybe", "yes"], "from_2_way_softmax", "scores from 3 next tokens"),
    (["a", "b"], "no_post_processing", "scores from 2 next tokens"),
    (["no", "yes"], "another", "by 'another', which is not supported"),
])  # fmt: skip
def test_words_that_are_none_are_refused(
    words: Any, method: Any, message: str, trusted: bool, model: Path
) -> None:
    say(model, classifier_from_token=words, method=method)
    with pytest.raises((SourceError, UnsupportedModelError), match=message):
        settled(model, trust_remote_code=trusted)


@pytest.mark.parametrize("weight", ["score.weight", "lm_head.weight"])
def test_a_classifier_without_a_head_is_the_language_model_that_vllm_makes_one_of(
    weight: str, model: Path
) -> None:
    say(
        model, architectures=["Qwen3ForSequenceClassification"],
        classifier_from_token=["no", "yes"], method="from_2_way_softmax",
    )  # fmt: skip
    save_file({weight: np.zeros((4, 4), np.float32)}, model / "model.safetensors")
    found = settled(model)
    assert found.kind is Kind.RERANKER
    assert (found.template is None) is (weight == "score.weight")


@pytest.mark.parametrize("trusted", [False, True])
def test_the_libraries_get_the_template_in_place_of_the_models_own(
    trusted: bool, model: Path, tmp_path: Path
) -> None:
    resolved = settled(model, trust_remote_code=trusted)
    folder = make_private_copy(resolved, tmp_path / "copy")
    assert folder == tmp_path / "copy"
    assert not (folder / "chat_template.jinja").exists()
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert "query" in tokenizer["chat_template"]
    assert tokenizer["padding_side"] == "right"
    modules = json.loads((folder / "modules.json").read_text())
    assert [entry["type"].rpartition(".")[2] for entry in modules] == ["Transformer", "LogitScore"]
    assert (folder / "model.safetensors").resolve() == model / "model.safetensors"
    # The model's own files stay as they are.
    assert json.loads((model / "tokenizer_config.json").read_text())["chat_template"] == "chat"
    assert not (model / "modules.json").exists()


class Words:
    """A tokenizer of one token for each letter, and for some words."""

    unk_token_id = 9

    def __init__(self, **known: int) -> None:
        self._known = known

    def convert_tokens_to_ids(self, entry: str) -> int:
        return self._known.get(entry, self.unk_token_id)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [self._known[text]] if text in self._known else [0] * len(text)}


class Score:
    true_token_id = 0
    false_token_id: int | None = None


def test_the_words_are_tokens() -> None:
    score = Score()
    set_words(RERANKER_TEMPLATES["qwen3-reranker"], score, Words(yes=5, no=6))
    assert (score.true_token_id, score.false_token_id) == (5, 6)
    score = Score()
    set_words(RERANKER_TEMPLATES["ctxl-rerank-v2"], score, Words())
    assert (score.true_token_id, score.false_token_id) == (0, None)


@pytest.mark.parametrize(("words", "message"), [
    ({"yes": 5}, 'the word "no", whose logit is the score, is 2 tokens of the tokenizer'),
    ({"yes": 9, "no": 6}, 'the word "yes", whose logit is the score, is unknown to the tokenizer'),
])  # fmt: skip
def test_a_word_that_is_no_token_is_refused(words: dict[str, int], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        set_words(RERANKER_TEMPLATES["qwen3-reranker"], Score(), Words(**words))


def test_a_word_of_config_json_is_an_entry_of_the_vocabulary() -> None:
    score = Score()
    words = NextToken(true="Yes", false="\u2581no", are_entries=True)
    set_words(words, score, Words(**{"Yes": 5, "\u2581no": 6}))
    assert (score.true_token_id, score.false_token_id) == (5, 6)
    with pytest.raises(UnsupportedModelError, match=r'the word "Yes".* is unknown') as caught:
        set_words(words, score, Words())
    assert "classifier_from_token" in caught.value.hint
