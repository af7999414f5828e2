"""What well-known models' cards ask to put before texts, where their settings do not.

The card quotes it as advice, and the code samples have it in their texts; no program applies it by
itself, and no figure is measured with it. A model is known by its repository on the hub,
never by its content, which anybody can write.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from embconvert.foreign_text import Markdown, json_string, markdown_link
from embconvert.manifest import Manifest
from embconvert.models.prompts import NO_PROMPTS, Prompt, Prompts

_HUB = "https://huggingface.co"
_SEARCH = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The prefixes of a family of models.

    Attributes:
        prefixes: What each is for, that of queries first, and the prefix, as on the models' cards.
    """

    models: tuple[str, ...]
    prefixes: tuple[tuple[str, str], ...]
    suffixes: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> str:
        """The address of the first model's card."""
        return f"{_HUB}/{self.models[0]}"

    @property
    def link(self) -> Markdown:
        return markdown_link("model card", self.source)

    @property
    def literals(self) -> Iterable[tuple[str, str]]:
        """What each prefix is for, and the prefix in double quotes."""
        return tuple((use, json_string(prefix)) for use, prefix in self.prefixes)

    @property
    def ends(self) -> Iterable[tuple[str, str]]:
        """What each suffix is for, and the suffix in double quotes."""
        return tuple((use, json_string(suffix)) for use, suffix in self.suffixes)


def _family(pattern: str, *names: str) -> tuple[str, ...]:
    """Returns repositories whose names differ in one part."""
    return tuple(pattern.format(name) for name in names)


ADVICE: tuple[Advice, ...] = (
    Advice(
        models=(
            *_family("intfloat/e5-{}-v2", "small", "base", "large"),
            *_family("intfloat/e5-{}", "small", "base", "large"),
        ),
        prefixes=(("a query", "query: "), ("a document", "passage: ")),
    ),
    Advice(
        models=_family("intfloat/multilingual-e5-{}", "small", "base", "large"),
        prefixes=(("a query", "query: "), ("a document", "passage: ")),
    ),
    Advice(
        models=("intfloat/multilingual-e5-large-instruct",),
        prefixes=(
            (
                "a query (the task in other words for other tasks)",
                "Instruct: Given a web search query, retrieve relevant passages that answer the "
                "query\nQuery: ",
            ),
        ),
    ),
    Advice(
        models=(
            *_family("BAAI/bge-{}-en-v1.5", "small", "base", "large"),
            *_family("BAAI/bge-{}-en", "small", "base", "large"),
        ),
        prefixes=(("a short query that is to find passages", _SEARCH),),
    ),
    Advice(
        models=(
            *_family("BAAI/bge-{}-zh-v1.5", "small", "base", "large"),
            *_family("BAAI/bge-{}-zh", "small", "base", "large"),
        ),
        prefixes=(
            ("a short query that is to find passages", "为这个句子生成表示以用于检索相关文章："),
        ),
    ),
    Advice(
        models=_family("nomic-ai/nomic-embed-text-v{}", "1.5", "1"),
        prefixes=(
            ("a query", "search_query: "),
            ("a document", "search_document: "),
            ("a text to cluster", "clustering: "),
            ("a text to classify", "classification: "),
        ),
    ),
    Advice(
        models=_family("Snowflake/snowflake-arctic-embed-{}", "m", "xs", "s", "m-long", "l"),
        prefixes=(("a query", _SEARCH),),
    ),
    Advice(
        models=_family("Snowflake/snowflake-arctic-embed-{}-v2.0", "l", "m"),
        prefixes=(("a query", "query: "),),
    ),
    Advice(
        models=("mixedbread-ai/mxbai-embed-large-v1",),
        prefixes=(("a query that is to find passages", _SEARCH),),
    ),
    Advice(
        models=_family("tomaarsen/Qwen3-Reranker-{}-seq-cls", "0.6B", "4B", "8B"),
        prefixes=(
            (
                "a query",
                "<|im_start|>system\nJudge whether the Document meets the requirements based on "
                'the Query and the Instruct provided. Note that the answer can only be "yes" or '
                '"no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, retrieve '
                "relevant passages that answer the query\n<Query>: ",
            ),
            ("a document", "<Document>: "),
        ),
        suffixes=(
            ("a query", "\n"),
            ("a document", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ),
    ),
    Advice(models=("WhereIsAI/UAE-Large-V1",), prefixes=(("a query", _SEARCH),)),
)


def advice_for(manifest: Manifest) -> Advice | None:
    """Returns the advice for a model whose settings name no prompts."""
    source = manifest.source
    if source.revision is None or source.prompts.distinct:
        return None
    return next((advice for advice in ADVICE if source.model_id in advice.models), None)


def advised_prompts(manifest: Manifest) -> Prompts:
    """Returns the prefixes as prompts of queries and documents; none with suffixes."""
    advice = advice_for(manifest)
    if advice is None or advice.suffixes:
        return NO_PROMPTS
    (_, query), *others = advice.prefixes
    document = next((prefix for use, prefix in others if use == "a document"), "")
    named = (Prompt(name="query", text=query), Prompt(name="document", text=document))
    return Prompts(named=named)
