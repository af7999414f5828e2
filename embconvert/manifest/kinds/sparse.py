"""The manifest's record of sparse models."""

from dataclasses import dataclass
from typing import Literal

from embconvert.manifest.kinds.base import KindRecord, Pooling
from embconvert.models.constraints import Identifier, Positive
from embconvert.models.kinds import Kind
from embconvert.models.splade import Activation, Splade, Strategy
from embconvert.overriding import override


@dataclass(frozen=True, kw_only=True)
class SparseRecord(KindRecord):
    """One weight per vocabulary entry.

    Attributes:
        pooling: How token vectors are pooled, if a separate module does it.
        dimension: Of the vector.
        similarity: How vectors are compared.
        max_active_dims: Maximum number of non-zero dimensions; None means no maximum.
        strategy: How token logits are pooled over the tokens; None for models without.
        activation: What makes weights of them; None for models without.
    """

    kind: Literal[Kind.SPARSE] = Kind.SPARSE
    pooling: Pooling = ()
    dimension: Positive | None = None
    similarity: Identifier | None = None
    max_active_dims: Positive | None = None
    strategy: Strategy | None = None
    activation: Activation | None = None

    @property
    @override
    def splade(self) -> Splade | None:
        if self.strategy is None or self.activation is None:
            return None
        return Splade(
            strategy=self.strategy, activation=self.activation, max_active_dims=self.max_active_dims
        )


RECORD = SparseRecord
