"""How a late-interaction model reads queries and documents, and which token vectors are scored."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen

from embconvert.models.constraints import Count, Positive, Record, Text


@dataclass(frozen=True, kw_only=True)
class Expansion(Record):
    """How short queries are padded with tokens whose vectors are scored (ColBERT's expansion).

    Attributes:
        length: Minimum number of tokens of a query.
        token_id: The padding token.
        attend: Whether the transformer attends to the padding (attention mask 1); it is scored in
            any case.
        fixed: Whether longer queries are truncated to the length.
    """

    length: Positive
    token_id: Count
    attend: bool
    fixed: bool


@dataclass(frozen=True, kw_only=True)
class LateInteraction(Record):
    """What a program must do outside the graph to get sentence-transformers' result.

    Attributes:
        query_prompt: Prefix of a query's text.
        document_prompt: Prefix of a document's text.
        query_length: Maximum number of tokens of a query; None means the model's limit.
        document_length: Maximum number of tokens of a document; None means the model's limit.
        expansion: How queries are expanded; None if they are not.
        skipped_ids: Tokens that are not scored.
        skipped_in: Where they are not scored: "query", "document" or both.
    """

    query_prompt: Text
    document_prompt: Text
    query_length: Positive | None
    document_length: Positive | None
    expansion: Expansion | None
    skipped_ids: Annotated[tuple[Count, ...], MaxLen(1_000_000)]
    skipped_in: Annotated[tuple[Literal["query", "document"], ...], MaxLen(2)]

    def prompt(self, *, query: bool) -> str:
        return self.query_prompt if query else self.document_prompt

    def limit(self, usual: int | None, *, query: bool) -> int | None:
        """Returns the maximum number of tokens; `usual` is the model's limit.

        Source: sentence_transformers.base.modules.transformer.Transformer.preprocess (6.2).
        """
        if not query:
            return self.document_length or usual
        if self.expansion is None:
            return self.query_length or usual
        if self.expansion.fixed:
            return self.expansion.length
        return max(self.query_length, self.expansion.length) if self.query_length else usual
