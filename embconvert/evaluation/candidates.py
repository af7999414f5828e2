"""Documents for a reranker to rank, where the data names none."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embconvert.evaluation.data import Dataset

#: Documents of each query, beside the relevant ones.
CANDIDATES = 20
_QUERIES = 256


def candidates_of(data: Dataset) -> Sequence[Sequence[int]]:
    """Returns the documents to rank for each query: the data's own, or by words in common.

    The latter are those with the highest TF-IDF similarity, of scikit-learn, and the relevant ones,
    without the query itself.
    """
    if data.candidates:
        return data.candidates
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    documents: Any = vectorizer.fit_transform(data.documents)
    queries: Any = vectorizer.transform(data.queries)
    own = data.own or [-1] * len(data.queries)
    found: list[Sequence[int]] = []
    for start in range(0, len(data.queries), _QUERIES):
        scores = (queries[start : start + _QUERIES] @ documents.T).tocsr()
        for row, judged in zip(range(scores.shape[0]), data.relevance[start:], strict=False):
            begin, end = scores.indptr[row], scores.indptr[row + 1]
            order = np.argsort(-scores.data[begin:end], kind="stable")[: CANDIDATES + 1]
            listed = scores.indices[begin:end][order].tolist()
            near = [number for number in listed if number != own[start + row]][:CANDIDATES]
            relevant = [number for number, grade in judged.items() if grade > 0]
            # In the documents' order, which tells nothing.
            found.append(sorted({*near, *relevant}))
    return found
