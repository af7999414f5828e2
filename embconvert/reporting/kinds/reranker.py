"""Terms and code samples for rerankers."""

from functools import partial

from embconvert.foreign_text import markdown_code, python_string
from embconvert.manifest import SourceRecord
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.models.kinds import Measure
from embconvert.reporting.fastembed_parts import (
    fastembed_arguments,
    fastembed_folder,
    fastembed_name,
)
from embconvert.reporting.kind_words import KindWords
from embconvert.reporting.sample_texts import DOCUMENTS, QUERY, query_lines, query_prompt
from embconvert.reporting.server_snippets import text_embeddings_inference
from embconvert.reporting.snippet_parts import (
    ServedModel,
    Snippet,
    SnippetMaker,
    feed_lines,
    only,
    output_line,
    runtime_snippet,
    sentence_transformers_snippet,
    setup_lines,
)
from embconvert.reporting.transformers_js_snippets import score_in_javascript

#: Code for the activation of CrossEncoder.predict(), by the class name.
_ACTIVATIONS = {"Sigmoid": "1 / (1 + np.exp(-logits))", "Identity": "logits"}


def _record(source: SourceRecord) -> RerankerRecord:
    assert isinstance(source.model, RerankerRecord)
    return source.model


def _labels(source: SourceRecord) -> int:
    return _record(source).labels or 1


def _size(source: SourceRecord) -> str:
    labels = _labels(source)
    return f"{labels} per pair" if labels > 1 else "one per pair"


def _pipeline_tag(source: SourceRecord) -> str | None:
    return "text-classification" if _labels(source) > 1 else None


def _cross_encoder(model: ServedModel) -> Snippet:
    prompts = model.source.prompts
    name = query_prompt(prompts)
    # predict() applies the default by itself.
    named = "" if name == prompts.default else f", prompt_name={python_string(str(name))}"
    return sentence_transformers_snippet(
        model,
        "CrossEncoder",
        f"{query_lines(QUERY)}pairs = [(query, document) for document in documents]\n"
        f"scores = model.predict(pairs{named})\nprint(scores)",
    )


def _fastembed(model: ServedModel) -> Snippet | None:
    if _labels(model.source) > 1 or model.graph.external_data is not None:
        return None
    name = fastembed_name(model)
    fetched, where = fastembed_folder(model)
    return Snippet(
        key="fastembed",
        title="fastembed",
        code=f"""\
# pip install "fastembed>=0.9.1"
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder
{fetched}
TextCrossEncoder.add_custom_model(
{fastembed_arguments(model)})
model = TextCrossEncoder({name}{where})
{query_lines(model.query)}scores = list(model.rerank(query, documents))
print(scores)""",
        remark="The scores are logits, without the activation; the ranking is the same.",
    )


def _reads_pairs(source: SourceRecord) -> bool:
    """Whether the tokenizer joins pairs, and a head scores them."""
    return "LogitScore" not in source.modules and _record(source).template is None


def _needless_tags(source: SourceRecord) -> tuple[str, ...]:
    return () if _reads_pairs(source) else ("transformers.js", "text-embeddings-inference")


def _encoding_lines(model: ServedModel) -> str:
    """Returns Python code that makes `feed` of `query` and `documents`."""
    template = _record(model.source).template
    if template is None:
        return (
            "pairs = [(query, document) for document in documents]\n"
            "encodings = tokenizer.encode_batch(pairs)\n" + feed_lines(model)
        )
    suffix, limit = template.suffix_ids, model.max_tokens
    order = ("document", "query") if template.document_first else ("query", "document")
    stays = ""
    if suffix and limit:
        suffix = suffix[-limit:]
        stays = f"""\
cut = feed["attention_mask"].sum(axis=1) >= {limit!r}  # the suffix stays
feed["input_ids"][cut, -{len(suffix)}:] = {list(suffix)!r}
"""
    return f"""\
prefix = {python_string(template.prefix)}
middle = {python_string(template.middle)}
suffix = {python_string(template.suffix)}
texts = [prefix + {" + middle + ".join(order)} + suffix for document in documents]
encodings = tokenizer.encode_batch(texts)
{feed_lines(model)}{stays}"""


def _onnxruntime(model: ServedModel) -> Snippet:
    activation = _record(model.source).activation or "an activation"
    applied = markdown_code(activation)
    name = activation.rpartition(".")[2]
    return runtime_snippet(
        model,
        f"""\
{setup_lines(model)}
{query_lines(model.query)}{_encoding_lines(model)}{output_line(model, "logits", "logits")}
scores = {_ACTIVATIONS.get(name, "logits")}
print(scores)""",
        remark=f"The graph gives logits; sentence-transformers applies {applied} to them.",
    )


def _text_embeddings_inference(model: ServedModel) -> Snippet | None:
    if _labels(model.source) > 1:
        return None
    body = {"query": model.query, "texts": list(DOCUMENTS)}
    return text_embeddings_inference(model, "rerank", body)


WORDS = KindWords(
    measure=Measure.AGREEMENT,
    item="pair",
    items="pairs",
    gives="scores",
    one="scores",
    all="scores",
    between=(
        "between a pair's scores and the source's: 1 − d²/2, where d is the largest "
        "difference, in standard deviations of the source's scores"
    ),
    neighbours=None,
    rank="between the scores of all pairs before and after",
    output_title="Scores",
    size=_size,
    pipeline_tag=_pipeline_tag,
    needless_tags=_needless_tags,
)
# The other programs know no templates, and no scores of the next token.
_of_classifiers = partial(only, lambda model: _reads_pairs(model.source))
SNIPPET_MAKERS: tuple[SnippetMaker, ...] = (
    _of_classifiers(_cross_encoder),
    _of_classifiers(_fastembed),
    _onnxruntime,
    _of_classifiers(score_in_javascript),
    _of_classifiers(_text_embeddings_inference),
)
