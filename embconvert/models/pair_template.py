"""How a reranker with a chat template reads a pair: as one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from embconvert.models.constraints import Count, Record, Text
from embconvert.models.late_interaction import LateInteraction


def joined_by(around: Sequence[str], texts: Sequence[str]) -> str:
    """Returns texts with others before, between and after them."""
    return "".join(map("".join, zip(around, (*texts, ""), strict=True)))


@dataclass(frozen=True, kw_only=True)
class PairTemplate(Record):
    """What is around the texts of a pair; a system prompt is part of it.

    Attributes:
        prefix: Before the first text of a pair, mostly the query.
        middle: Between the two.
        suffix: After the second.
        document_first: Whether the document is before the query.
        suffix_ids: Its tokens, which replace the last ones of a text that is truncated.
    """

    prefix: Text
    middle: Text
    suffix: Text
    document_first: bool = False
    suffix_ids: Annotated[tuple[Count, ...], MaxLen(10_000)]

    def text(self, query: str, document: str) -> str:
        texts = (document, query) if self.document_first else (query, document)
        return joined_by((self.prefix, self.middle, self.suffix), texts)


#: How a model reads its inputs, if not as tokenizer.json alone says.
InputRules = LateInteraction | PairTemplate
