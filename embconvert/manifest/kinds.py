"""What the manifest says of a source, by the kind of its model: a record for each.

What only the loaded model tells is None where a run did not load it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from annotated_types import MaxLen

from embconvert.models.choices import PoolingMode
from embconvert.models.constraints import Identifier, OneOf, Positive, Record
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import LateInteraction

Pooling = Annotated[tuple[PoolingMode, ...], MaxLen(10)]


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecord(Record):
    """A vector of a text.

    Attributes:
        pooling: How it is made of the vectors of the tokens.
        dimension: Its length.
    """

    kind: Literal[Kind.EMBEDDING] = Kind.EMBEDDING
    pooling: Pooling = ()
    dimension: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class RerankerRecord(Record):
    """Scores of a pair of texts.

    Attributes:
        labels: How many scores a pair has.
        activation: The torch class that sentence-transformers applies to the scores; it is not in
            the graphs.
    """

    kind: Literal[Kind.RERANKER] = Kind.RERANKER
    labels: Positive | None = None
    activation: Identifier | None = None


@dataclass(frozen=True, kw_only=True)
class SparseRecord(Record):
    """Weights of the words of a vocabulary.

    Attributes:
        pooling: How a vector is made of those of the tokens, where a module does only that.
        dimension: Length of a vector.
        similarity: How two vectors are compared.
        max_active_dims: How many dimensions may be other than zero; None for any number.
    """

    kind: Literal[Kind.SPARSE] = Kind.SPARSE
    pooling: Pooling = ()
    dimension: Positive | None = None
    similarity: Identifier | None = None
    max_active_dims: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class LateInteractionRecord(Record):
    """A vector of each token.

    Attributes:
        dimension: Length of a vector.
        similarity: How two texts are compared.
        late_interaction: What a program does beside running the graph.
    """

    kind: Literal[Kind.LATE_INTERACTION] = Kind.LATE_INTERACTION
    dimension: Positive | None = None
    similarity: Identifier | None = None
    late_interaction: LateInteraction | None = None


ModelRecord = Annotated[
    EmbeddingRecord | RerankerRecord | SparseRecord | LateInteractionRecord, OneOf("kind")
]
#: What is said of a model that was not loaded.
NOT_LOADED: Mapping[Kind, ModelRecord] = MappingProxyType(
    {
        Kind.EMBEDDING: EmbeddingRecord(),
        Kind.RERANKER: RerankerRecord(),
        Kind.SPARSE: SparseRecord(),
        Kind.LATE_INTERACTION: LateInteractionRecord(),
    }
)
