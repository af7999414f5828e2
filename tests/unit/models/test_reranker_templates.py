"""What is around a pair of a reranker that only its card describes."""

import pytest

from embconvert.models.pair_template import joined_by
from embconvert.models.reranker_templates import RERANKER_TEMPLATES

QUERY, DOCUMENT = 'a "query"\n', " {{ 1 }} \\n"


@pytest.mark.parametrize("name", RERANKER_TEMPLATES)
def test_the_chat_template_puts_its_texts_around_a_pair(name: str) -> None:
    """With the settings of transformers, which takes line breaks away."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = RERANKER_TEMPLATES[name]
    rendered = (
        ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        .from_string(template.chat_template)
        .render(
            messages=[
                {"role": "query", "content": QUERY},
                {"role": "document", "content": DOCUMENT},
            ],
            bos_token="<s>",
        )
    )
    texts = (DOCUMENT, QUERY) if template.document_first else (QUERY, DOCUMENT)
    around = (template.prefix, template.middle, template.suffix)
    bos = "<s>" if template.starts_with_bos else ""
    assert rendered == bos + joined_by(around, texts)


@pytest.mark.parametrize(("model_id", "model_type", "name"), [
    ("Qwen/Qwen3-Reranker-0.6B", "qwen3", "qwen3-reranker"),
    ("./Qwen3-Reranker-8B", "qwen3", "qwen3-reranker"),
    ("mixedbread-ai/mxbai-rerank-large-v2", "qwen2", "mxbai-rerank-v2"),
    ("zeroentropy/zerank-1-small", "qwen3", "zerank"),
    ("zeroentropy/zerank-2-reranker", "qwen3", "zerank"),
    ("BAAI/bge-reranker-v2-gemma", "gemma", "bge-reranker-v2-gemma"),
    ("ContextualAI/ctxl-rerank-v2-instruct-multilingual-6b", "qwen3", "ctxl-rerank-v2"),
    # Other templates, other structures, and whatever somebody made of them.
    ("Qwen/Qwen3-Reranker-0.6B", "llama", None),
    ("me/Qwen3-Reranker-0.6B-finetuned", "qwen3", None),
    ("me/my-zerank-2", "qwen3", None),
    ("mixedbread-ai/mxbai-rerank-base-v1", "deberta-v2", None),
    ("BAAI/bge-reranker-v2-minicpm-layerwise", "minicpm", None),
])  # fmt: skip
def test_a_model_is_known_by_its_whole_name_and_its_architecture(
    model_id: str, model_type: str, name: str | None
) -> None:
    found = [key for key, one in RERANKER_TEMPLATES.items() if one.is_of(model_id, model_type)]
    assert found == ([] if name is None else [name])
