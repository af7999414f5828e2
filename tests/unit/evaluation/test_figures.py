"""Figures are those of the field's usual definitions."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from embconvert.evaluation.data import DataForm, Pairs
from embconvert.evaluation.figures import (
    FIGURES,
    MAIN_FIGURES,
    Figure,
    kept_neighbours,
    pair_figures,
    retrieval_figures,
)
from embconvert.evaluation.ranking import Ranking


def ranking(*lists: list[int], scores: list[float] | None = None) -> Ranking:
    depth = 101
    documents = np.full((len(lists), depth), -1, np.int64)
    values = np.full((len(lists), depth), -np.inf, np.float32)
    for row, numbers in enumerate(lists):
        documents[row, : len(numbers)] = numbers
        values[row, : len(numbers)] = scores or np.linspace(1, 0.5, len(numbers))
    return Ranking(documents=documents, scores=values)


def values(figures: list[Figure]) -> dict[str, float]:
    return {figure.name: round(figure.value, 6) for figure in figures}


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e299])
def test_the_scale_of_scores_does_not_matter(scale: float) -> None:
    gold, scores = np.array([1.0, 2, 3, 5]) * scale, np.array([0.2, 0.1, 0.3, 0.9])
    numbers = np.arange(4)
    pairs = Pairs(first=numbers, second=numbers, gold=gold)
    assert values(pair_figures(DataForm.SCORED_PAIRS, pairs, scores))["Pearson"] == round(
        float(np.corrcoef([1, 2, 3, 5], scores)[0, 1]), 6
    )


def test_retrieval() -> None:
    """As trec_eval computes them (checked with pytrec_eval-terrier 0.5.11)."""
    found = retrieval_figures(ranking([5, 3, 8]), [{3: 2, 8: 1, 9: 1, 5: 0}])
    gain = 2 / np.log2(3) + 1 / np.log2(4)
    best = 2 + 1 / np.log2(3) + 1 / np.log2(4)
    assert values(found) == {
        "nDCG@10": round(gain / best, 6), "recall@10": 0.666667, "recall@100": 0.666667,
        "MRR@10": 0.5,
    }  # fmt: skip
    assert tuple(figure.name for figure in found) == (
        MAIN_FIGURES[DataForm.RETRIEVAL], *FIGURES[DataForm.RETRIEVAL][:3],
    )  # fmt: skip


def test_retrieval_counts_ten_results_and_a_hundred() -> None:
    found = retrieval_figures(ranking(list(range(101))), [{10: 1, 99: 1, 100: 1}])
    assert values(found) == {"nDCG@10": 0, "recall@10": 0, "recall@100": 0.666667, "MRR@10": 0}


def test_results_with_equal_scores_stay_in_the_order_of_the_ranking() -> None:
    """trec_eval itself would sort them by their names, which say nothing about the model."""
    for numbers in ([3, 5, 8], [8, 5, 3]):
        found = retrieval_figures(ranking(numbers, scores=[0.5] * 3), [{5: 1}])
        assert values(found) == {
            "nDCG@10": round(1 / np.log2(3), 6), "recall@10": 1, "recall@100": 1, "MRR@10": 0.5,
        }  # fmt: skip


def many(queries: int) -> tuple[Ranking, list[dict[int, int]]]:
    """Returns random lists of 0 to 101 of 150 documents, and one to six relevant ones each."""
    rng = np.random.default_rng(4)
    lists = [rng.permutation(150)[: rng.integers(0, 102)].tolist() for _ in range(queries)]
    relevant = [rng.permutation(150)[: rng.integers(1, 7)].tolist() for _ in range(queries)]
    return ranking(*lists), [dict.fromkeys(numbers, 1) for numbers in relevant]


def test_each_query_has_the_figures_that_it_has_alone() -> None:
    together, relevance = many(30)
    found = retrieval_figures(together, relevance)
    assert [figure.units for figure in found] == [30] * 4
    for row in range(30):
        alone = Ranking(
            documents=together.documents[row : row + 1], scores=together.scores[row : row + 1]
        )
        assert [figure.value for figure in retrieval_figures(alone, relevance[row : row + 1])] == [
            figure.samples[0][row] for figure in found
        ]


def test_the_reciprocal_rank_is_the_average_precision_of_one_relevant_result() -> None:
    """So scikit-learn's documentation says of its label ranking average precision."""
    marks = np.zeros((10, 10), np.int64)
    marks[np.arange(10), np.arange(10)] = 1
    places = np.tile(np.arange(10, 0, -1), (10, 1))
    relevance = [{number: 1} for number in range(10)]
    found = retrieval_figures(ranking(*[list(range(10))] * 10), relevance)[3]
    assert found.value == pytest.approx(label_ranking_average_precision_score(marks, places))


def test_a_query_with_one_document_and_one_result() -> None:
    assert values(retrieval_figures(ranking([0]), [{0: 1}]))["nDCG@10"] == 1


def test_neighbours_are_kept_in_any_order() -> None:
    before, after = list(range(20)), [*range(9, -1, -1), *range(20, 30)]
    assert kept_neighbours(ranking(before), ranking(after)).tolist() == [1.0]
    assert kept_neighbours(ranking(before), ranking([*range(3), *range(40, 50)])).tolist() == [0.3]


def test_a_neighbour_as_near_as_the_last_one_counts_as_kept() -> None:
    scores = [1.0] * 9 + [0.5, 0.5, 0.4]
    before = ranking(list(range(12)), scores=scores)
    assert kept_neighbours(before, ranking([*range(9), 10])).tolist() == [1.0]
    assert kept_neighbours(before, ranking([*range(9), 11])).tolist() == [0.9]


def test_few_documents_have_few_neighbours() -> None:
    assert kept_neighbours(ranking([1, 2]), ranking([2, 1])).tolist() == [1.0]


def pairs(gold: list[float]) -> Pairs:
    numbers = np.arange(len(gold))
    return Pairs(first=numbers, second=numbers, gold=np.array(gold))


def test_pairs() -> None:
    scores = np.array([0.1, 0.2, 0.9, 1.0])
    assert values(pair_figures(DataForm.SCORED_PAIRS, pairs([1, 2, 3, 4]), scores)) == {
        "Spearman": 1.0, "Pearson": round(float(np.corrcoef([1, 2, 3, 4], scores)[0, 1]), 6),
    }  # fmt: skip
    assert values(pair_figures(DataForm.LABELLED_PAIRS, pairs([0, 1, 0, 1]), scores)) == {
        "AP": round((1 + 2 / 3) / 2, 6)
    }


def test_triples_that_are_equal_count_half() -> None:
    scores = np.array([0.9, 0.5, 0.1, 0.8, 0.5, 0.2])
    found = pair_figures(DataForm.TRIPLES, pairs([1, 1, 1, 0, 0, 0]), scores)
    assert values(found) == {"accuracy": 0.5}


def test_triples_of_one_anchor_are_one_observation() -> None:
    numbers = np.array([0, 0, 0, 1])
    several = Pairs(first=np.tile(numbers, 2), second=np.arange(8), gold=np.repeat([1.0, 0.0], 4))
    scores = np.array([0.9, 0.9, 0.1, 0.9, 0.5, 0.5, 0.5, 0.5])
    (figure,) = pair_figures(DataForm.TRIPLES, several, scores)
    assert figure.samples[0].tolist() == [2 / 3, 1]


@pytest.mark.parametrize("scores", [[0.5] * 4, [1, 1, 1, 2]])
def test_constant_scores_are_no_error(scores: list[float]) -> None:
    for form in (DataForm.SCORED_PAIRS, DataForm.LABELLED_PAIRS):
        for figure in pair_figures(form, pairs([0, 1, 0, 1]), np.array(scores)):
            assert np.isfinite(figure.value)
