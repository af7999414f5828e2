"""Token vectors are stored as they are, and compared by MaxSim."""

from collections.abc import Sequence

import numpy as np

from embconvert.evaluation.scoring import Row, Scores, Scoring
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.kinds.late_interaction import max_sim

# A row starts with the size of a vector.
_HEAD = 4


def _pack(embeddings: Embeddings) -> list[Row]:
    if embeddings.tokens is None:
        raise ValueError("the graph has no output with token vectors, (batch, seq, dim)")
    if not embeddings.is_finite:
        raise ValueError("it computes values that are not numbers")
    return [np.uint32(text.shape[1]).tobytes() + text.tobytes() for text in embeddings.tokens]


def _unpack(rows: Sequence[Row]) -> list[FloatArray]:
    """Returns (tokens, dim) float32 for each text; one zero vector for a text without any."""
    width = max((int(np.frombuffer(row, np.uint32, 1)[0]) for row in rows if row), default=1)
    return [
        np.frombuffer(row, np.float32, offset=_HEAD).reshape(-1, width)
        if len(row) > _HEAD
        else np.zeros((1, width), np.float32)
        for row in rows
    ]


def _scores(queries: Sequence[FloatArray], documents: Sequence[FloatArray], how: str) -> Scores:
    del how
    return max_sim(queries, documents).astype(np.float32)


def _pairs(first: Sequence[FloatArray], second: Sequence[FloatArray], how: str) -> Scores:
    del how
    found = [max_sim([a], [b])[0, 0] for a, b in zip(first, second, strict=True)]
    return np.array(found, np.float32)


SCORING = Scoring(pack=_pack, unpack=_unpack, scores=_scores, pairs=_pairs, similarity="MaxSim")
