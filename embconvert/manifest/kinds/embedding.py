"""The manifest's record of embedding models."""

from dataclasses import dataclass
from typing import Literal

from embconvert.manifest.kinds.base import KindRecord, Pooling
from embconvert.models.constraints import Positive
from embconvert.models.kinds import Kind
from embconvert.models.vector_code import VectorCode


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecord(KindRecord):
    """One vector per text.

    Attributes:
        pooling: How token vectors are pooled.
        dimension: Of the vector.
        code: What makes integers of it in the graph; None if it is of floats.
    """

    kind: Literal[Kind.EMBEDDING] = Kind.EMBEDDING
    pooling: Pooling = ()
    dimension: Positive | None = None
    code: VectorCode | None = None


RECORD = EmbeddingRecord
