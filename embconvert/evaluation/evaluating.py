"""Evaluates one graph on some data."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.errors import UsageError
from embconvert.evaluation.candidates import candidates_of
from embconvert.evaluation.data import DataForm, Dataset, Pairs
from embconvert.evaluation.figures import Scored
from embconvert.evaluation.outputs import CachedOutputs
from embconvert.evaluation.ranking import RunningRanking, ranked_candidates
from embconvert.evaluation.scoring import Row, Scores, Scoring
from embconvert.evaluation.texts import WINDOW_TEXTS, StoredTexts
from embconvert.fidelity.texts import Item, Prompted, Query
from embconvert.models.kinds import Reading


@dataclass(frozen=True, kw_only=True)
class Sides:
    """How the texts of some data become inputs."""

    reading: Reading
    query_prompt: str = ""
    document_prompt: str = ""

    def queries(self, texts: Sequence[str]) -> list[Item]:
        if self.reading is Reading.QUERY_OR_DOCUMENT:
            return [Query(text) for text in texts]
        return [Prompted(text, self.query_prompt) for text in texts]

    def documents(self, texts: Sequence[str]) -> list[Item]:
        if self.reading is Reading.QUERY_OR_DOCUMENT:
            return list(texts)
        return [Prompted(text, self.document_prompt) for text in texts]

    def pairs(self, first: Sequence[str], second: Sequence[str]) -> list[Item]:
        return [Prompted(pair, self.query_prompt) for pair in zip(first, second, strict=True)]


class Evaluator:
    """Evaluates graphs of one kind on some data, of which a kind may be able to use no others.

    `similarity` is one of scoring.SIMILARITIES; `size` is the number of inputs, for progress.
    Raises UsageError if the kind cannot be evaluated on such data.
    """

    def __init__(self, data: Dataset, scoring: Scoring, sides: Sides, similarity: str) -> None:
        self._data = data
        self._scoring = scoring
        self._sides = sides
        self._similarity = similarity
        self._candidates: Sequence[Sequence[int]] = ()
        if scoring.scores is None:
            if data.form is DataForm.TEXTS:
                raise UsageError(
                    f"{data.name} is a list of texts, but a reranker scores pairs",
                    "give a folder in BEIR's form, pairs or triples",
                )
            if data.form is DataForm.RETRIEVAL:
                self._candidates = candidates_of(data)
        if data.pairs is not None:
            self.size = len(data.pairs.gold) * (1 if scoring.scores is None else 2)
        elif self._candidates:
            self.size = sum(map(len, self._candidates))
        else:
            again = len(data.queries) if data.form is DataForm.TEXTS else 0
            self.size = len(data.queries) + len(data.documents) + again

    def run(
        self, queries: CachedOutputs, documents: CachedOutputs, advance: Callable[[int], None]
    ) -> Generator[Any, Any, Scored]:
        """Evaluates a graph, in steps that wait for its worker.

        Args:
            queries: Of the graph that embeds queries; of rerankers, of pairs.
            documents: Of the graph that embeds documents, usually the same.
            advance: Gets the number of inputs since the last call.
        """
        data = self._data
        if data.pairs is not None:
            scores = yield from self._pairs(data.pairs, queries, documents, advance)
            return Scored(scores=scores)
        if self._candidates:
            scores = yield from self._pairs(_all_of(self._candidates), queries, queries, advance)
            return Scored(ranking=ranked_candidates(self._candidates, scores))
        return (yield from self._ranked(queries, documents, advance))

    def _ranked(
        self, queries: CachedOutputs, documents: CachedOutputs, advance: Callable[[int], None]
    ) -> Generator[Any, Any, Scored]:
        data, scoring = self._data, self._scoring
        asked: list[Row] = []
        for numbers in data.queries.windows():
            asked += yield from queries.rows(self._sides.queries(_some(data.queries, numbers)))
            advance(len(numbers))
        running = RunningRanking(scoring, asked, self._similarity, own=data.own)
        for numbers in data.documents.windows():
            items = self._sides.documents(_some(data.documents, numbers))
            rows = yield from documents.rows(items)
            present = [place for place, row in enumerate(rows) if row]
            if present:
                block = scoring.unpack([rows[place] for place in present])
                running.add(block, np.array(present, np.int64) + numbers.start)
            advance(len(numbers))
        if data.form is not DataForm.TEXTS:
            return Scored(ranking=running.ranking())
        again: list[Row] = []
        for numbers in data.queries.windows():
            again += yield from documents.rows(self._sides.documents(_some(data.queries, numbers)))
            advance(len(numbers))
        assert scoring.scores is not None
        scores = scoring.scores(scoring.unpack(asked), scoring.unpack(again), self._similarity)
        return Scored(ranking=running.ranking(), scores=scores)

    def _pairs(
        self,
        pairs: Pairs,
        queries: CachedOutputs,
        documents: CachedOutputs,
        advance: Callable[[int], None],
    ) -> Generator[Any, Any, Scores]:
        """Returns the score of each pair, (pairs,) float32."""
        data, scoring = self._data, self._scoring
        found: list[Scores] = []
        for where in _parts(len(pairs.first)):
            first = _some(data.queries, pairs.first[where].tolist())
            second = _some(data.documents, pairs.second[where].tolist())
            blocks: list[Any] = [None, None]
            if scoring.scores is None:
                rows = yield from queries.rows(self._sides.pairs(first, second))
                blocks[0] = scoring.unpack(rows)
                advance(len(first))
            else:
                rows = yield from queries.rows(self._sides.queries(first))
                advance(len(first))
                rows += yield from documents.rows(self._sides.documents(second))
                advance(len(second))
                whole = scoring.unpack(rows)
                blocks = [whole[: len(first)], whole[len(first) :]]
            found.append(scoring.pairs(blocks[0], blocks[1], self._similarity))
        return np.concatenate(found)


def _some(texts: StoredTexts, numbers: Sequence[int]) -> list[str]:
    return [texts[number] for number in numbers]


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, WINDOW_TEXTS):
        yield slice(start, min(count, start + WINDOW_TEXTS))


def _all_of(candidates: Sequence[Sequence[int]]) -> Pairs:
    """Returns the pairs of queries and their candidates, in order."""
    counts = list(map(len, candidates))
    return Pairs(
        first=np.repeat(np.arange(len(candidates)), counts),
        second=np.array([number for numbers in candidates for number in numbers], np.int64),
        gold=np.zeros(sum(counts)),
    )
