"""Finds the documents with the highest scores, block by block; exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.evaluation.scoring import Scores, Scoring

Numbers = npt.NDArray[np.int64]

#: How many documents of each query are kept, for recall@100 and one more.
DEPTH = 101
#: Number of queries whose scores are in memory at a time.
_QUERIES = 2048


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best documents of each query, best first; equal ones in the order of their numbers.

    Attributes:
        documents: Their numbers, (queries, depth); -1 where there are no more.
        scores: (queries, depth) float32; minus infinity where there are no more.
    """

    documents: Numbers
    scores: Scores


class RunningRanking:
    """Ranks documents that come in blocks, by one of scoring.SIMILARITIES.

    `own` is that of the Dataset: documents that are left out. `depth` documents are kept for a
    query.
    """

    def __init__(
        self,
        scoring: Scoring,
        queries: Sequence[bytes],
        similarity: str,
        *,
        own: Sequence[int] = (),
        depth: int = DEPTH,
    ) -> None:
        assert scoring.scores is not None
        self._scores = scoring.scores
        self._similarity = similarity
        self._own = np.array(own, np.int64) if own else np.full(len(queries), -1)
        self._blocks: list[Any] = [
            scoring.unpack(queries[start : start + _QUERIES])
            for start in range(0, len(queries), _QUERIES)
        ]
        self._documents = np.full((len(queries), depth), -1, np.int64)
        self._best = np.full((len(queries), depth), -np.inf, np.float32)

    def add(self, documents: Any, numbers: Numbers) -> None:
        """Ranks a block of documents, whose numbers ascend and are above all earlier ones."""
        for index, queries in enumerate(self._blocks):
            rows = slice(index * _QUERIES, (index + 1) * _QUERIES)
            scores = self._scores(queries, documents, self._similarity)
            scores = np.where(self._own[rows, None] == numbers, np.float32(-np.inf), scores)
            self._merge(rows, scores, numbers)

    def _merge(self, rows: slice, scores: Scores, numbers: Numbers) -> None:
        depth = self._best.shape[1]
        every = np.concatenate([self._best[rows], scores], axis=1)
        named = np.concatenate(
            [self._documents[rows], np.broadcast_to(numbers, scores.shape)], axis=1
        )
        named = np.where(np.isneginf(every), -1, named)
        # Stable, so that of equal scores the earlier document stays first.
        if every.shape[1] > 4 * depth:
            least = np.partition(every, -depth, axis=1)[:, -depth, None]
            keep = np.argsort(every < least, axis=1, kind="stable")
            width = int((every >= least).sum(axis=1).max())
            keep = np.sort(keep[:, :width], axis=1)
            every, named = np.take_along_axis(every, keep, 1), np.take_along_axis(named, keep, 1)
        order = np.argsort(-every, axis=1, kind="stable")[:, :depth]
        self._best[rows] = np.take_along_axis(every, order, axis=1)
        self._documents[rows] = np.take_along_axis(named, order, axis=1)

    def ranking(self) -> Ranking:
        return Ranking(documents=self._documents, scores=self._best)


def ranked_candidates(candidates: Sequence[Sequence[int]], scores: Scores) -> Ranking:
    """Ranks the candidates of each query by scores, those of the first query's candidates first."""
    documents = np.full((len(candidates), DEPTH), -1, np.int64)
    best = np.full((len(candidates), DEPTH), -np.inf, np.float32)
    start = 0
    for row, numbers in enumerate(candidates):
        own = scores[start : start + len(numbers)]
        start += len(numbers)
        order = np.argsort(-own, kind="stable")[:DEPTH]
        documents[row, : len(order)] = np.array(numbers, np.int64)[order]
        best[row, : len(order)] = own[order]
    return Ranking(documents=documents, scores=best)
