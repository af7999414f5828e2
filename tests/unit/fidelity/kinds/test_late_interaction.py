"""How token vectors are compared, and how queries and documents are laid out."""

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, Fidelity, FloatArray, token_cosines
from embconvert.fidelity.floors import floor_for, shortfall
from embconvert.fidelity.kinds.late_interaction import compare_tokens, max_sim
from embconvert.models.choices import Precision


def vectors(*rows: tuple[float, float]) -> FloatArray:
    return np.array(rows, np.float32).reshape(-1, 2)


def compared(theirs: dict[str, FloatArray], ours: dict[str, FloatArray]) -> Fidelity:
    return compare_tokens(
        Embeddings(sentence=None, token_mean=None, tokens=tuple(theirs.values())),
        Embeddings(sentence=None, token_mean=None, tokens=tuple(ours.values())),
        text_ids=list(theirs),
        batch=1.0,
    )


def test_scores_add_up_the_best_match_of_each_token_of_the_query() -> None:
    query = vectors((1, 0), (0, 1))
    documents = [vectors((0.5, 0), (0, 2)), vectors((1, 1))]
    np.testing.assert_allclose(max_sim([query], documents), [[2.5, 2.0]])


def test_a_text_without_a_token_that_counts_is_the_same() -> None:
    means, lowest = token_cosines([vectors(), vectors((1, 0))], [vectors(), vectors((1, 0))])
    assert (means.tolist(), lowest) == ([1.0, 1.0], 1.0)


THEIRS = {
    "a": vectors((1, 0), (0, 1)), "b": vectors((0.6, 0.8)), "c": vectors(),
    "query:a": vectors((1, 0)), "query:b": vectors((0.6, 0.8)),
}  # fmt: skip


def test_a_single_wrong_token_is_found_in_float32() -> None:
    same = compared(THEIRS, THEIRS)
    assert same.lowest_token_cosine == pytest.approx(1.0)
    assert (same.similarity.mean, same.rank_correlation) == (1.0, 1.0)
    long = {**THEIRS, "d": np.tile(vectors((1, 0)), (100_000, 1))}
    wrong = {**long, "d": long["d"].copy()}
    wrong["d"][7] = (0.99, 0.14)
    figures = compared(long, wrong)
    assert figures.similarity.mean > 0.999999
    problem = shortfall(figures, floor_for(Precision.FLOAT32, None))
    assert problem is not None
    assert "lowest cosine of a token" in problem


@pytest.mark.parametrize(("changed", "message"), [
    ({"b": vectors((1, 0), (0, 1))}, "token_embeddings has shape"),
    ({"b": vectors((float("nan"), 0))}, "not finite"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(changed: dict[str, FloatArray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compared(THEIRS, THEIRS | changed)
