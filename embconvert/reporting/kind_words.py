"""The terms and code samples of the pages, by kind of model."""

from collections.abc import Callable
from dataclasses import dataclass

from embconvert.manifest import Manifest, SourceRecord
from embconvert.manifest.kinds.base import HeadRecord
from embconvert.models.kinds import KINDS, Kind, Measure, part_of
from embconvert.reporting.snippet_parts import SnippetMaker

_KINDS = "embconvert.reporting.kinds"


def dimensions_of(source: SourceRecord) -> str:
    return f"{source.dimension or source.hidden_size or '?'} dimensions"


@dataclass(frozen=True, kw_only=True)
class KindWords:
    """The terms for one kind.

    Attributes:
        gives: What the model computes for one item, as in "a text's embedding".
        between: What the similarity is measured between.
        rank: What the rank correlation is measured between.
        neighbours: Whose nearest neighbours are compared, and by what; None if none are.
        output_title: The model's output in the card's table.
        as_head: The card's description of such a head: its outputs, and how two texts are compared
            by them; Markdown.
        pipeline_tag: From the source to the hub's name of its task, if it is not the usual one of
            the kind.
        needless_tags: From the source to the kind's tags that are not true of it.
        changed: From the source and these terms to those for it.
    """

    measure: Measure
    item: str = "text"
    items: str = "texts"
    gives: str = "embedding"
    one: str = "an embedding"
    all: str = "embeddings"
    between: str = "between a text's embedding and the source's"
    rank: str = "between the similarities of all pairs of texts before and after"
    neighbours: str | None = "how many of each text's ten nearest neighbours among all texts stay"
    output_title: str = "Embedding"
    as_head: str = ""
    size: Callable[[SourceRecord], str] = dimensions_of
    pipeline_tag: Callable[[SourceRecord], str | None] = lambda _: None
    needless_tags: Callable[[SourceRecord], tuple[str, ...]] = lambda _: ()
    changed: "Callable[[SourceRecord, KindWords], KindWords]" = lambda _, words: words


def words_for(manifest: Manifest) -> KindWords:
    words = part_of(manifest.kind, _KINDS, "WORDS", KindWords)
    return words.changed(manifest.source, words)


@dataclass(frozen=True, kw_only=True)
class HeadWords:
    """A head of a hybrid model, with the terms of its kind."""

    record: HeadRecord
    words: KindWords


def heads_of(manifest: Manifest) -> tuple[HeadWords, ...]:
    """Returns the model's heads; most models have none."""
    return tuple(
        HeadWords(record=record, words=part_of(record.kind, _KINDS, "WORDS", KindWords))
        for record in manifest.source.model.heads
    )


def snippet_makers(kind: Kind) -> tuple[SnippetMaker, ...]:
    """Returns the functions that make code samples; see SnippetMaker."""
    return part_of(kind, _KINDS, "SNIPPET_MAKERS", tuple)


def described(manifest: Manifest) -> str:
    """Returns a description of the model's output."""
    source = manifest.source
    words = words_for(manifest)
    parts = [words.size(source)]
    if source.pooling:
        parts.append(" + ".join(source.pooling) + " pooling")
    if source.max_seq_length:
        parts.append(f"{words.items} are truncated to {source.max_seq_length} tokens")
    return ", ".join(parts)


def tags_of(manifest: Manifest) -> tuple[str, tuple[str, ...]]:
    """Returns the hub's pipeline tag and other tags."""
    rules = KINDS[manifest.kind]
    words = words_for(manifest)
    tag = words.pipeline_tag(manifest.source)
    needless = words.needless_tags(manifest.source)
    return tag or rules.pipeline_tag, tuple(t for t in rules.tags if t not in needless)
