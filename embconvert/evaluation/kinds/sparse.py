"""Sparse vectors are stored without their zeros, and compared by dot product or as they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embconvert.evaluation.scoring import Row, Scores, Scoring
from embconvert.fidelity.figures import Embeddings

# A row is the vector's length, its indices and its weights, all of four bytes.
_BYTES = 4


def _pack(embeddings: Embeddings) -> list[Row]:
    if embeddings.sentence is None:
        raise ValueError("the graph has no output with sparse vectors, (batch, vocabulary)")
    if not np.isfinite(embeddings.sentence).all():
        raise ValueError("it computes values that are not numbers")
    rows = []
    for vector in embeddings.sentence:
        indices = np.flatnonzero(vector).astype(np.uint32)
        length = np.uint32(len(vector)).tobytes()
        rows.append(length + indices.tobytes() + vector[indices].tobytes())
    return rows


def _unpack(rows: Sequence[Row]) -> Any:
    """Returns a scipy matrix in rows, (rows, vocabulary) float32."""
    from scipy.sparse import csr_array

    cells = [np.frombuffer(row[_BYTES:], np.uint32) for row in rows]
    counts = [len(found) // 2 for found in cells]
    columns = [found[:count] for found, count in zip(cells, counts, strict=True)]
    weights = [found[count:].view(np.float32) for found, count in zip(cells, counts, strict=True)]
    width = max((int(np.frombuffer(row, np.uint32, 1)[0]) for row in rows if row), default=0)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return csr_array(
        (np.concatenate(weights), np.concatenate(columns).astype(np.int64), starts),
        shape=(len(rows), width),
    )


def _norms(block: Any) -> Any:
    norms = np.sqrt(block.multiply(block).sum(axis=1))
    return np.where(norms > 0, norms, 1.0)


def _scores(queries: Any, documents: Any, how: str) -> Scores:
    scores: Scores = (queries @ documents.T).toarray().astype(np.float32)
    if how == "cosine":
        scores = (scores / _norms(queries)[:, None] / _norms(documents)).astype(np.float32)
    return scores


def _pairs(first: Any, second: Any, how: str) -> Scores:
    scores = first.multiply(second).sum(axis=1)
    if how == "cosine":
        scores = scores / _norms(first) / _norms(second)
    return np.asarray(scores, np.float32)


SCORING = Scoring(pack=_pack, unpack=_unpack, scores=_scores, pairs=_pairs, similarity="dot")
