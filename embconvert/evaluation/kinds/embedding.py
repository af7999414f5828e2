"""Embeddings are stored as they are, and compared as the model says."""

import numpy as np

from embconvert.evaluation.scoring import Row, Scores, Scoring, pack_matrix, unpack_matrix
from embconvert.fidelity.figures import Embeddings, FloatArray


def _pack(embeddings: Embeddings) -> list[Row]:
    pooled = embeddings.sentence
    return pack_matrix(embeddings.token_mean if pooled is None else pooled)


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit


def similarities(queries: FloatArray, documents: FloatArray, how: str) -> Scores:
    """Returns the similarity of each query and document, (n, m) float32.

    Distances are negative, as those of sentence-transformers.
    """
    if how in ("euclidean", "manhattan"):
        from scipy.spatial.distance import cdist

        metric = "euclidean" if how == "euclidean" else "cityblock"
        distances: Scores = cdist(queries, documents, metric).astype(np.float32)
        return -distances
    if how == "cosine":
        queries, documents = _unit(queries), _unit(documents)
    products: Scores = queries @ documents.T
    return products


def _pairs(first: FloatArray, second: FloatArray, how: str) -> Scores:
    if how in ("euclidean", "manhattan"):
        order = 2 if how == "euclidean" else 1
        return np.asarray(-np.linalg.norm(first - second, ord=order, axis=1), np.float32)
    if how == "cosine":
        first, second = _unit(first), _unit(second)
    return np.asarray(np.einsum("nd,nd->n", first, second), np.float32)


SCORING = Scoring(
    pack=_pack, unpack=unpack_matrix, scores=similarities, pairs=_pairs, similarity="cosine"
)
