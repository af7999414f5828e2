"""Rerankers give a pair its score."""

from typing import Any

import numpy as np

from embconvert.evaluation.scoring import Row, Scores, Scoring, pack_matrix, unpack_matrix
from embconvert.fidelity.figures import Embeddings


def _pack(embeddings: Embeddings) -> list[Row]:
    scores = embeddings.sentence
    if scores is not None and scores.shape[1] != 1:
        raise ValueError(
            f"it has {scores.shape[1]} scores per pair, of which none is the relevance"
        )
    return pack_matrix(scores)


def _pairs(first: Any, second: Any, how: str) -> Scores:
    del second, how
    return np.asarray(first[:, 0], np.float32)


SCORING = Scoring(pack=_pack, unpack=unpack_matrix, scores=None, pairs=_pairs, similarity=None)
