"""Each kind's outputs are stored and compared without loss."""

from collections.abc import Sequence

import numpy as np
import pytest

from embconvert.evaluation.scoring import scoring_for
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.kinds.late_interaction import max_sim
from embconvert.models.kinds import Kind

RNG = np.random.default_rng(2)


def dense(count: int) -> Embeddings:
    return Embeddings(sentence=RNG.normal(size=(count, 6)).astype(np.float32), token_mean=None)


def sparse(count: int) -> Embeddings:
    values = RNG.normal(size=(count, 50)).astype(np.float32)
    return Embeddings(sentence=np.where(values > 1, values, 0).astype(np.float32), token_mean=None)


def tokens(lengths: Sequence[int]) -> Embeddings:
    found = tuple(RNG.normal(size=(n, 4)).astype(np.float32) for n in lengths)
    return Embeddings(sentence=None, token_mean=None, tokens=found)


@pytest.mark.parametrize("how", ["cosine", "dot", "euclidean", "manhattan"])
def test_pairs_have_the_scores_of_all_with_all(how: str) -> None:
    scoring = scoring_for(Kind.EMBEDDING)
    first, second = (scoring.unpack(scoring.pack(dense(5))) for _ in range(2))
    assert scoring.scores is not None
    scores = scoring.scores(first, second, how)
    assert scores.shape == (5, 5)
    np.testing.assert_allclose(scoring.pairs(first, second, how), np.diag(scores), rtol=1e-5)
    assert scores.dtype == np.float32


@pytest.mark.parametrize("how", ["cosine", "dot"])
def test_sparse_vectors_are_compared_as_their_dense_form(how: str) -> None:
    ours, usual = scoring_for(Kind.SPARSE), scoring_for(Kind.EMBEDDING)
    a, b = sparse(7), sparse(9)
    assert ours.scores is not None
    assert usual.scores is not None
    scores = ours.scores(ours.unpack(ours.pack(a)), ours.unpack(ours.pack(b)), how)
    expected = usual.scores(a.sentence, b.sentence, how)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    some = Embeddings(sentence=b.sentence[:7], token_mean=None)  # type: ignore[index]
    pairs = ours.pairs(ours.unpack(ours.pack(a)), ours.unpack(ours.pack(some)), how)
    np.testing.assert_allclose(pairs, np.diag(expected[:, :7]), atol=1e-5)


def test_token_vectors_are_compared_by_max_sim() -> None:
    scoring = scoring_for(Kind.LATE_INTERACTION)
    a, b = tokens([3, 5]), tokens([2, 7])
    first, second = (scoring.unpack(scoring.pack(x)) for x in (a, b))
    assert scoring.scores is not None
    assert a.tokens is not None
    assert b.tokens is not None
    expected = max_sim(a.tokens, b.tokens)
    np.testing.assert_allclose(scoring.scores(first, second, "MaxSim"), expected, rtol=1e-5)
    np.testing.assert_allclose(scoring.pairs(first, second, "MaxSim"), np.diag(expected), rtol=1e-5)


@pytest.mark.parametrize("kind", [Kind.EMBEDDING, Kind.SPARSE, Kind.LATE_INTERACTION])
def test_a_text_without_tokens_is_like_nothing(kind: Kind) -> None:
    made = {Kind.EMBEDDING: dense(2), Kind.SPARSE: sparse(2)}.get(kind, tokens([3, 2]))
    scoring = scoring_for(kind)
    row, other = scoring.pack(made)
    assert scoring.scores is not None
    scores = scoring.scores(scoring.unpack([row, b""]), scoring.unpack([row, b"", other]), "dot")
    assert scores[1].tolist() == [0, 0, 0]
    assert scores[0, 1] == 0
    assert scores[0, 0] != 0


@pytest.mark.parametrize("kind", Kind)
def test_what_is_no_number_is_refused(kind: Kind) -> None:
    bad = np.full((1, 1), np.nan, np.float32)
    with pytest.raises(ValueError, match="not numbers"):
        scoring_for(kind).pack(Embeddings(sentence=bad, token_mean=None, tokens=(bad,)))


def test_a_reranker_with_several_scores_ranks_nothing() -> None:
    scores = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="it has 3 scores per pair"):
        scoring_for(Kind.RERANKER).pack(Embeddings(sentence=scores, token_mean=None))
