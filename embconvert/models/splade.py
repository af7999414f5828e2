"""How a text's token logits become its sparse vector (SPLADE)."""

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    """How a text's weights of a vocabulary entry are pooled over its tokens."""

    MAX = "max"
    SUM = "sum"


class Activation(StrEnum):
    """What makes a weight of a logit."""

    #: log(1 + max(x, 0))
    RELU = "relu"
    #: The logarithm of 1 + that.
    LOG1P_RELU = "log1p_relu"


@dataclass(frozen=True, kw_only=True)
class Splade:
    """The pooling of token logits.

    Attributes:
        max_active_dims: Maximum number of non-zero dimensions; None means no maximum.
    """

    strategy: Strategy
    activation: Activation
    max_active_dims: int | None = None

    @property
    def is_usual(self) -> bool:
        """Whether programs that do not read the model's modules pool like this."""
        return self == Splade(strategy=Strategy.MAX, activation=Activation.RELU)
