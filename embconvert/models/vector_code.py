"""How embeddings are stored in fewer bits: `--output_precision`."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from embconvert.models.choices import OutputPrecision
from embconvert.models.constraints import Component, Positive, Record

_Components = Annotated[tuple[Component, ...], MaxLen(1_000_000)]


@dataclass(frozen=True, kw_only=True)
class VectorCode(Record):
    """What makes integers of an embedding, as sentence-transformers' quantize_embeddings does.

    int8 and uint8: each component's range is cut into 255 steps; what is outside becomes the
    nearest. binary and ubinary: one bit per component, whether it is positive, eight to a byte.

    Attributes:
        dimension: Of the embedding.
        lows: Lowest value of each component, for int8 and uint8.
        highs: Highest value of each component, for int8 and uint8.
    """

    precision: OutputPrecision
    dimension: Positive
    lows: _Components = ()
    highs: _Components = ()

    @property
    def size(self) -> int:
        """Number of integers of an embedding."""
        return -(-self.dimension // 8) if self.precision.is_bits else self.dimension
