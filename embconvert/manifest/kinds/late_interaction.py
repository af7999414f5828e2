"""The manifest's record of late-interaction models."""

from dataclasses import dataclass
from typing import Literal

from embconvert.manifest.kinds.base import KindRecord
from embconvert.models.constraints import Identifier, Positive
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import LateInteraction


@dataclass(frozen=True, kw_only=True)
class LateInteractionRecord(KindRecord):
    """One vector per token.

    Attributes:
        dimension: Of a vector.
        similarity: How texts are compared.
        late_interaction: What a program does outside the graph.
    """

    kind: Literal[Kind.LATE_INTERACTION] = Kind.LATE_INTERACTION
    dimension: Positive | None = None
    similarity: Identifier | None = None
    late_interaction: LateInteraction | None = None


RECORD = LateInteractionRecord
