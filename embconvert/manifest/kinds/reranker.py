"""The manifest's record of rerankers."""

from dataclasses import dataclass
from typing import Literal

from embconvert.manifest.kinds.base import KindRecord
from embconvert.models.constraints import Identifier, Name, Positive
from embconvert.models.kinds import Kind
from embconvert.models.pair_template import InputRules, PairTemplate
from embconvert.overriding import override


@dataclass(frozen=True, kw_only=True)
class RerankerRecord(KindRecord):
    """Scores per pair of texts.

    Attributes:
        labels: Number of scores per pair.
        activation: The torch class that sentence-transformers applies to the scores; not in the
            graphs.
        template: What a program puts around a pair, which is then one text; None if the tokenizer
            reads pairs.
        template_name: The `--reranker_template` of a model whose files do not say how it scores.
    """

    kind: Literal[Kind.RERANKER] = Kind.RERANKER
    labels: Positive | None = None
    activation: Identifier | None = None
    template: PairTemplate | None = None
    template_name: Name | None = None

    @property
    @override
    def input_rules(self) -> InputRules | None:
        return self.template


RECORD = RerankerRecord
