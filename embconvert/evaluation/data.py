"""Data on which graphs are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from embconvert.evaluation.texts import StoredTexts

Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class DataForm(StrEnum):
    """The type of a user's data, as messages name it."""

    RETRIEVAL = "retrieval"
    SCORED_PAIRS = "pairs with scores"
    LABELLED_PAIRS = "pairs with labels"
    TRIPLES = "triples"
    TEXTS = "texts"


def counts_text(form: DataForm, queries: int, documents: int) -> str:
    """Returns how much data of a form there is, for messages and pages."""
    if form in (DataForm.RETRIEVAL, DataForm.TEXTS):
        return f"{queries:,} queries, {documents:,} documents"
    return f"{queries:,} of them"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of texts, each by its number; all arrays are (pairs,).

    Attributes:
        gold: Score or label of each; of triples, 1 in the first half (the pairs of anchors and
            positives) and 0 in the second (the same anchors, negatives); several triples may have
            the same anchor.
    """

    first: Indices
    second: Indices
    gold: Values


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Some data.

    Attributes:
        queries: The queries, or the first texts of pairs; of a list of texts, those whose
            neighbours are compared.
        documents: The documents, or the second texts; of a list of texts, all of them.
        relevance: For each query the relevance of its judged documents, by their numbers; above 0
            is relevant.
        candidates: For each query the documents to rerank; empty if the data names none.
        own: For each query the number of the document that is the query itself, which is no result;
            -1 for one that is none. Empty if none is; of a list of texts, all are.
    """

    name: str
    form: DataForm
    digest: str
    queries: StoredTexts
    documents: StoredTexts
    relevance: Sequence[Mapping[int, int]] = ()
    candidates: Sequence[Sequence[int]] = ()
    own: Sequence[int] = ()
    pairs: Pairs | None = None
    remarks: Sequence[str] = field(default=())

    @property
    def words(self) -> str:
        """What it is, in one line."""
        counts = counts_text(self.form, len(self.queries), len(self.documents))
        return "; ".join([f"{self.name}: {self.form}", counts, *self.remarks])
