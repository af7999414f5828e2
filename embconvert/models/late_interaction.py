"""How a late-interaction model reads queries and documents, and which token vectors count."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen

from embconvert.models.constraints import Count, Positive, Record, Text


@dataclass(frozen=True, kw_only=True)
class Expansion(Record):
    """How short queries are filled up: ColBERT's trick, by which a model adds words of its own.

    Attributes:
        length: Tokens that a query has at least.
        token_id: What it is filled up with.
        attend: Whether the transformer sees them (attention mask 1); their vectors count anyhow.
        fixed: Whether longer queries are cut to the length.
    """

    length: Positive
    token_id: Count
    attend: bool
    fixed: bool


@dataclass(frozen=True, kw_only=True)
class LateInteraction(Record):
    """What a program must do beside running the graph, for what sentence-transformers gives.

    Attributes:
        query_prompt: Goes before a query's text.
        document_prompt: Goes before a document's text.
        query_length: Tokens after which a query is cut; None for the model's usual limit.
        document_length: Likewise for a document.
        expansion: How queries are filled up; None when they are not.
        skipped_ids: Tokens whose vectors do not count.
        skipped_in: In what they do not count: "query", "document" or both.
    """

    query_prompt: Text
    document_prompt: Text
    query_length: Positive | None
    document_length: Positive | None
    expansion: Expansion | None
    skipped_ids: Annotated[tuple[Count, ...], MaxLen(1_000_000)]
    skipped_in: Annotated[tuple[Literal["query", "document"], ...], MaxLen(2)]

    def prompt(self, *, query: bool) -> str:
        """Returns what goes before a text."""
        return self.query_prompt if query else self.document_prompt

    def limit(self, usual: int | None, *, query: bool) -> int | None:
        """Returns the tokens after which a text is cut.

        Source: sentence_transformers.base.modules.transformer.Transformer.preprocess (6.2).

        Args:
            usual: The model's limit.
            query: Whether it is a query.
        """
        if not query:
            return self.document_length or usual
        if self.expansion is None:
            return self.query_length or usual
        if self.expansion.fixed:
            return self.expansion.length
        return max(self.query_length, self.expansion.length) if self.query_length else usual
