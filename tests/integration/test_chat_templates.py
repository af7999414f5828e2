"""Embedding models with a chat template: tokenizer.json gives the tokens of their library."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from embconvert.errors import UnsupportedModelError
from embconvert.models.kinds import Kind
from embconvert.source.chat_template import TextReading
from support import multimodal, zoo
from support.corpus import edit
from support.exports import load

pytestmark = pytest.mark.integration

TEMPLATE = (
    "{% if messages[0].role != 'system' %}<s>system\nRepresent it.</s>\n{% endif %}"
    "{% for message in messages %}<s>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
TEXTS = [*zoo.SENTENCES, "", zoo.LONG_SENTENCE, "<s>user\nspecial</s>"]


def build(folder: Path, template: str, **library: object) -> Path:
    """Builds a model of texts and images whose modules read messages."""
    multimodal.build("qwen3_vl", folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    named = {"method": "forward", "method_output_name": "last_hidden_state"}
    settings = {
        "modality_config": {"text": named, "message": {**named, "format": "structured"}},
        "module_output_name": "token_embeddings",
        "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
    }
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    (folder / "1_Pooling").mkdir()
    pooling = {"embedding_dimension": zoo.HIDDEN_SIZE, "pooling_mode": "lasttoken"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    names = {"": "Transformer", "1_Pooling": "Pooling"}
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (path, name) in enumerate(names.items())
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(library))
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizer_puts_the_templates_tokens_around_texts(side: str, tmp_path: Path) -> None:
    model = build(
        tmp_path / "m", TEMPLATE, prompts={"web": "Find it.", "x": "No."}, default_prompt_name="web"
    )
    edit(model / "tokenizer_config.json", padding_side=side, model_max_length=60)
    source = load(model, Kind.EMBEDDING)
    assert isinstance(source.reading, TextReading)
    published = Tokenizer.from_str(source.reading.backend().to_str())
    encodings = published.encode_batch(TEXTS)
    features = source.reading.features(TEXTS)
    assert [e.ids for e in encodings] == features["input_ids"].tolist()
    assert [e.attention_mask for e in encodings] == features["attention_mask"].tolist()
    read = published.decode(published.encode("a").ids, skip_special_tokens=False)
    assert "Find it." in read
    assert read.endswith("<s>assistant\n")
    assert source.prompts.distinct == ()


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content[0].text | trim }}",
        "{{ messages[0].content[0].text }}" * 2,
        "before {{ messages[0].content[0].text }}</s>",
        "{{ strftime_now('%d %b %Y') }}</s>{{ messages[0].content[0].text }}",
        "{{ messages | length }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_that_does_more_is_refused(template: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="the model's chat template"):
        load(build(tmp_path / "m", template), Kind.EMBEDDING)
