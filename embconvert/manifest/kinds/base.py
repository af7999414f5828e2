"""What the records of all kinds have in common."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from embconvert.models.choices import Output, PoolingMode
from embconvert.models.constraints import Name, Positive, Record, RelativePath
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.output_rules import OutputRules
from embconvert.models.pair_template import InputRules
from embconvert.models.splade import Splade
from embconvert.models.vector_code import VectorCode

Pooling = Annotated[tuple[PoolingMode, ...], MaxLen(10)]


@dataclass(frozen=True, kw_only=True)
class HeadRecord(Record):
    """A further output of the graphs.

    Attributes:
        kind: The kind of model that gives such outputs. "sparse" is one weight per token, (batch,
            seq), 0 or more: a text's vector has for each token id the largest of its weights, and
            the score is the product of two vectors. "late-interaction" is one L2-normalized vector
            per token, (batch, seq, dimension), without the first token and padding, which are
            zero: the score is the mean over the query's tokens of the largest product with a token
            of the document.
        output: Name of the output.
        file: The head's weights in the source.
        dimension: Numbers per token.
    """

    kind: Kind
    output: Name
    file: RelativePath
    dimension: Positive


HeadRecords = Annotated[tuple[HeadRecord, ...], MaxLen(10)]


@dataclass(frozen=True, kw_only=True)
class KindRecord(Record):
    """Properties of the source model; a subclass replaces what its kind has by a field."""

    kind: Kind

    @property
    def pooling(self) -> Pooling:
        """How token vectors are pooled; empty if they are not."""
        return ()

    @property
    def dimension(self) -> int | None:
        """Of a vector; None if there is none, or if unknown."""
        return None

    @property
    def heads(self) -> HeadRecords:
        """Further outputs; empty for most models."""
        return ()

    @property
    def late_interaction(self) -> LateInteraction | None:
        """None for models of other kinds."""
        return None

    @property
    def code(self) -> VectorCode | None:
        """What makes integers of embeddings; None if they are floats."""
        return None

    @property
    def splade(self) -> Splade | None:
        """How token logits are pooled; None for models without."""
        return None

    @property
    def template_name(self) -> str | None:
        """The `--reranker_template`; None for most models."""
        return None

    def output_rules(self, output: Output) -> OutputRules | None:
        """Returns how the outputs of graphs are read; None for float vectors and scores."""
        return self.splade if output is Output.LOGITS else self.code

    @property
    def input_rules(self) -> InputRules | None:
        """How inputs are read, if not as tokenizer.json alone says."""
        return self.late_interaction
