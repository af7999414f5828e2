"""What the pages call things, by the kind of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from embconvert.manifest import Manifest, RerankerRecord
from embconvert.models.kinds import KINDS, Kind, Measure


@dataclass(frozen=True, kw_only=True)
class KindWords:
    """The words for one kind.

    Attributes:
        measure: What tells how near a graph is.
        item: What is compared, one of it.
        items: Many.
        gives: What the model makes of one, in "a text's embedding".
        one: The same with its article.
        all: What it makes of many.
        between: Between what, or of what, the figures are.
        rank: Of what the rank correlation is.
        fact: What the table of facts calls what the model gives.
    """

    measure: Measure
    item: str = "text"
    items: str = "texts"
    gives: str = "embedding"
    one: str = "an embedding"
    all: str = "embeddings"
    between: str = "between a text's embedding and the source's"
    rank: str = "between the similarities of all pairs of texts before and after"
    fact: str = "Embedding"


_WORDS: Mapping[Kind, KindWords] = MappingProxyType(
    {
        Kind.EMBEDDING: KindWords(measure=Measure.COSINE),
        Kind.RERANKER: KindWords(
            measure=Measure.AGREEMENT,
            item="pair",
            items="pairs",
            gives="scores",
            one="scores",
            all="scores",
            between="of a pair's scores with the source's: 1 − d²/2, where d is the largest "
            "difference, in standard deviations of the source's scores",
            rank="between the scores of all pairs before and after",
            fact="Scores",
        ),
        Kind.SPARSE: KindWords(
            measure=Measure.COSINE,
            gives="vector",
            one="a vector",
            all="vectors",
            between="between a text's sparse vector and the source's",
            rank="between the products of all pairs of texts before and after",
            fact="Sparse vector",
        ),
        Kind.LATE_INTERACTION: KindWords(
            measure=Measure.COSINE,
            gives="vectors",
            one="vectors",
            all="vectors",
            between="between the vectors of a text's tokens and the source's, the mean over the "
            "tokens that count",
            rank="between the scores (MaxSim) of all documents for all queries before and after",
            fact="Vector of each token",
        ),
    }
)


def words_for(manifest: Manifest) -> KindWords:
    """Returns the words for a folder's kind of model."""
    return _WORDS[manifest.kind]


def described(manifest: Manifest) -> str:
    """Returns what the model gives, in words."""
    source = manifest.source
    words = words_for(manifest)
    if isinstance(source.model, RerankerRecord):
        labels = source.model.labels or 1
        parts = [f"{labels} a pair" if labels > 1 else "one a pair"]
    else:
        parts = [f"{source.dimension or source.hidden_size or '?'} dimensions"]
    if source.pooling:
        parts.append(" + ".join(source.pooling) + " pooling")
    if source.max_seq_length:
        parts.append(f"{words.items} are cut after {source.max_seq_length} tokens")
    return ", ".join(parts)


def tags_of(manifest: Manifest) -> tuple[str, tuple[str, ...]]:
    """Returns the hub's name of what the model does, and its tags."""
    rules = KINDS[manifest.kind]
    model = manifest.source.model
    several = isinstance(model, RerankerRecord) and (model.labels or 1) > 1
    return "text-classification" if several else rules.pipeline_tag, rules.tags
