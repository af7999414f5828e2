"""The best documents are the same, however many blocks they come in."""

import numpy as np
import pytest

from embconvert.evaluation.ranking import RunningRanking, ranked_candidates
from embconvert.evaluation.scoring import scoring_for
from embconvert.models.kinds import Kind

SCORING = scoring_for(Kind.EMBEDDING)


def rows(matrix: np.ndarray) -> list[bytes]:
    return [row.astype(np.float32).tobytes() for row in matrix]


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("depth", [1, 10, 101])
def test_ranking_by_blocks_is_exact(block: int, depth: int) -> None:
    rng = np.random.default_rng(3)
    queries, documents = rng.normal(size=(30, 8)), rng.normal(size=(300, 8))
    running = RunningRanking(SCORING, rows(queries), "dot", depth=depth)
    for start in range(0, 300, block):
        some = documents[start : start + block]
        running.add(SCORING.unpack(rows(some)), np.arange(start, start + len(some)))
    scores = queries.astype(np.float32) @ documents.astype(np.float32).T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    assert running.ranking().documents.tolist() == expected.tolist()


def test_of_equal_documents_the_earlier_is_first() -> None:
    same = np.ones((500, 4))
    running = RunningRanking(SCORING, rows(same[:1]), "dot", depth=5)
    for start in range(0, 500, 50):
        running.add(SCORING.unpack(rows(same[:50])), np.arange(start, start + 50))
    assert running.ranking().documents.tolist() == [[0, 1, 2, 3, 4]]


def test_a_text_is_no_neighbour_of_itself_and_what_is_missing_is_marked() -> None:
    texts = np.eye(3)
    running = RunningRanking(SCORING, rows(texts), "cosine", own=[0, 1, 2], depth=4)
    running.add(SCORING.unpack(rows(texts)), np.arange(3))
    assert running.ranking().documents.tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [0, 1, -1, -1]]


def test_candidates_are_ranked_by_their_scores() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.7], np.float32)
    ranking = ranked_candidates([[4, 2, 9], [7]], scores)
    assert ranking.documents[:, :4].tolist() == [[2, 9, 4, -1], [7, -1, -1, -1]]
