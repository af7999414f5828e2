"""Figures of a graph's scores, by scikit-learn and scipy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.evaluation.data import DataForm, Dataset, Pairs, Values
from embconvert.evaluation.ranking import Numbers, Ranking
from embconvert.evaluation.scoring import Scores

#: Neighbours that are compared, as on a page of search results.
_TOP = 10
_RECALLED = 100
# Scores that differ by less, relative to the largest one, differ only by float32 rounding.
_ROUNDING = 1e-6

#: The figure by which data of a form is judged first.
MAIN_FIGURES: Mapping[DataForm, str] = {
    DataForm.RETRIEVAL: "nDCG@10",
    DataForm.SCORED_PAIRS: "Spearman",
    DataForm.LABELLED_PAIRS: "AP",
    DataForm.TRIPLES: "accuracy",
    DataForm.TEXTS: "top 10 kept",
}
KEPT = "top 10 kept"
#: The others, in order.
FIGURES: Mapping[DataForm, tuple[str, ...]] = {
    DataForm.RETRIEVAL: ("recall@10", "recall@100", "MRR@10", KEPT),
    DataForm.SCORED_PAIRS: ("Pearson",),
    DataForm.LABELLED_PAIRS: (),
    DataForm.TRIPLES: (),
    DataForm.TEXTS: ("rank correlation",),
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a graph gave for some data.

    Attributes:
        ranking: Of retrieval data and lists of texts.
        scores: Of pairs, (pairs,); of a list of texts, of each query with each as a document,
            (queries, queries).
    """

    ranking: Ranking | None = None
    scores: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that is computed from one or two values for each unit: a query, pair or triple.

    Attributes:
        statistic: From the samples to the figure, between -1 and 1; higher is better. None for the
            mean of one sample.
        samples: Arrays of one length.
    """

    name: str
    samples: Sequence[Values]
    statistic: Callable[..., float] | None = None

    @property
    def units(self) -> int:
        return len(self.samples[0])

    @property
    def value(self) -> float:
        if self.statistic is None:
            return float(np.mean(self.samples[0]))
        return self.statistic(*self.samples)


def figures_of(data: Dataset, outcome: Scored, baseline: Scored) -> list[Figure]:
    """Returns the figures of an outcome, the main one first; `baseline` is of the float32 graph."""
    if data.pairs is not None:
        assert outcome.scores is not None
        return pair_figures(data.form, data.pairs, outcome.scores.astype(np.float64))
    assert outcome.ranking is not None and baseline.ranking is not None
    kept = kept_neighbours(baseline.ranking, outcome.ranking)
    of_kept = Figure(name=KEPT, samples=[kept])
    if data.form is DataForm.RETRIEVAL:
        return [*retrieval_figures(outcome.ranking, data.relevance), of_kept]
    assert outcome.scores is not None and baseline.scores is not None
    correlations = [
        _spearman(np.delete(theirs, own), np.delete(ours, own))
        for own, (theirs, ours) in enumerate(zip(baseline.scores, outcome.scores, strict=True))
    ]
    return [of_kept, Figure(name="rank correlation", samples=[np.array(correlations)])]


def retrieval_figures(ranking: Ranking, relevance: Sequence[Mapping[int, int]]) -> list[Figure]:
    """Returns nDCG@10, recall@10, recall@100 and MRR@10, as trec_eval and BEIR define them.

    The order of results is that of the ranking, also of results with equal scores. `relevance` is
    that of documents, for each query; above 0 is relevant.
    """
    relevant = [[n for n, grade in judged.items() if grade > 0] for judged in relevance]
    found = [documents[documents >= 0] for documents in ranking.documents]
    gains = [_ndcg(f[:_TOP].tolist(), judged) for f, judged in zip(found, relevance, strict=True)]
    first = [_reciprocal_rank(f[:_TOP], r) for f, r in zip(found, relevant, strict=True)]
    return [
        Figure(name="nDCG@10", samples=[np.array(gains, np.float64)]),
        Figure(name="recall@10", samples=[_recall([f[:_TOP] for f in found], relevant)]),
        Figure(name="recall@100", samples=[_recall([f[:_RECALLED] for f in found], relevant)]),
        Figure(name="MRR@10", samples=[np.array(first, np.float64)]),
    ]


def _ndcg(listed: Sequence[int], judged: Mapping[int, int]) -> float:
    """Returns nDCG@10 of one query; documents that are not listed have the lowest score."""
    from sklearn.metrics import ndcg_score

    others = [number for number, grade in judged.items() if grade > 0 and number not in listed]
    # Of fewer than ten results, the others are no results: they come after ten places.
    blanks = [0] * (_TOP - len(listed))
    grades = [*(max(0, judged.get(number, 0)) for number in listed), *blanks]
    grades += [judged[number] for number in others]
    places = [*range(_TOP, 0, -1), *([0] * len(others))]
    return float(ndcg_score([grades], [places], k=_TOP, ignore_ties=True))


def _recall(found: Sequence[Numbers], relevant: Sequence[Sequence[int]]) -> Values:
    """Returns which share of its relevant documents each query has found, (queries,) float64."""
    from sklearn.metrics import recall_score

    count = 1 + max(max(numbers, default=0) for numbers in (*found, *relevant))
    wanted, listed = _indicators(relevant, count), _indicators(found, count)
    recalls: Values = recall_score(wanted, listed, average=None, zero_division=0.0)
    return recalls[: len(found)]


def _indicators(documents: Sequence[Sequence[int] | Numbers], count: int) -> Any:
    """Returns whether each document is one of a query's, a sparse (count, queries + 1) matrix.

    To scikit-learn, the queries are the labels, for each of which it has a recall. It expects two
    or more, so there is an empty one after them.
    """
    from scipy.sparse import csr_array

    rows = np.concatenate([np.asarray(numbers, np.int64) for numbers in documents])
    columns = np.repeat(np.arange(len(documents)), [len(numbers) for numbers in documents])
    shape = count, len(documents) + 1
    return csr_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=shape)


def _reciprocal_rank(found: Numbers, relevant: Sequence[int]) -> float:
    """Returns 1 / the place of the first relevant document; 0 if there is none."""
    places = np.flatnonzero(np.isin(found, relevant)) + 1
    return float(1 / places[0]) if len(places) else 0.0


def kept_neighbours(theirs: Ranking, ours: Ranking) -> Values:
    """Returns which share of each query's ten best documents stays, (queries,) float64.

    A document whose score in the baseline equals that of the last one, except for rounding, counts
    as kept.
    """
    shares = []
    largest = float(np.abs(theirs.scores[np.isfinite(theirs.scores)]).max(initial=0.0))
    for documents, scores, found in zip(
        theirs.documents, theirs.scores, ours.documents[:, :_TOP], strict=True
    ):
        count = min(_TOP, int((documents >= 0).sum()))
        if count == 0:
            shares.append(1.0)
            continue
        allowed = documents[(documents >= 0) & (scores >= scores[count - 1] - _ROUNDING * largest)]
        shares.append(min(count, int(np.isin(found[found >= 0], allowed).sum())) / count)
    return np.array(shares, np.float64)


def pair_figures(form: DataForm, pairs: Pairs, scores: Values) -> list[Figure]:
    """Returns the figures of pairs or triples, given each pair's score, (pairs,)."""
    if form is DataForm.TRIPLES:
        positive, negative = np.split(scores, 2)
        won = np.where(positive == negative, 0.5, (positive > negative).astype(np.float64))
        # Triples with the same anchor are no independent observations.
        anchors = pairs.first[: len(won)]
        shares = np.bincount(anchors, won) / np.bincount(anchors)
        return [Figure(name="accuracy", samples=[shares])]
    if form is DataForm.LABELLED_PAIRS:
        return [Figure(name="AP", samples=[pairs.gold, scores], statistic=_average_precision)]
    return [
        Figure(name="Spearman", samples=[pairs.gold, scores], statistic=_spearman),
        Figure(name="Pearson", samples=[pairs.gold, scores], statistic=_pearson),
    ]


def _average_precision(labels: Values, scores: Values) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if labels.any() else 0.0


def _spearman(a: Values, b: Values) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, a, b)


def _pearson(a: Values, b: Values) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, a, b)


def _correlation(test: Callable[[Values, Values], Any], a: Values, b: Values) -> float:
    """Returns the statistic of scipy's test.

    Of constant samples, which have none, it is 1 if both are constant, otherwise 0.
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float(np.ptp(a) == np.ptp(b))
    return float(test(a, b).statistic)
