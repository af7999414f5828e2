"""The manifest's record of hybrid models."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen

from embconvert.manifest.kinds.base import HeadRecords, KindRecord, Pooling
from embconvert.models.constraints import Count, Positive
from embconvert.models.kinds import Kind


@dataclass(frozen=True, kw_only=True)
class HybridRecord(KindRecord):
    """One vector per text, as an embedding model's, and outputs of heads over the token vectors.

    Attributes:
        pooling: How token vectors are pooled for the vector of a text.
        dimension: Of that vector.
        heads: The further outputs.
        weightless_ids: Special tokens, whose weight is 0 in the graph.
    """

    kind: Literal[Kind.HYBRID] = Kind.HYBRID
    pooling: Pooling = ()
    dimension: Positive | None = None
    heads: HeadRecords = ()
    weightless_ids: Annotated[tuple[Count, ...], MaxLen(100)] = ()


RECORD = HybridRecord
