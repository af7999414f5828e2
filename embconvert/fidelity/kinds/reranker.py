"""Compares the scores of rerankers; numpy only."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.comparison import Comparison, read_matrix
from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    first_rows,
    summarized,
)
from embconvert.fidelity.ranking import rank_correlation
from embconvert.models.kinds import Measure


def spread(scores: FloatArray) -> float:
    """Returns the standard deviation of scores, (pairs, labels) float32, over all labels.

    If all pairs have equal scores, it is the largest score, or 1.
    """
    x = scores.astype(np.float64)
    deviation = float(np.sqrt(((x - x.mean(axis=0)) ** 2).mean()))
    largest = float(np.abs(x).max(initial=0.0))
    # Below this, the deviation is only float32 rounding.
    return deviation if deviation > 1e-6 * largest else largest or 1.0


def agreements(a: FloatArray, b: FloatArray, scale: float) -> npt.NDArray[np.float64]:
    """Returns Measure.AGREEMENT of each pair, (pairs,) float64, between 1 and -1.

    Scores are (pairs, labels) float32; `scale` is their spread.
    """
    distance = np.abs(a.astype(np.float64) - b).max(axis=1) / scale
    found: npt.NDArray[np.float64] = np.clip(1.0 - distance**2 / 2, -1.0, 1.0)
    return found


def compare_scores(
    reference: Embeddings, candidate: Embeddings, *, text_ids: list[str], batch: float
) -> Fidelity:
    """Compares scores with the reference, like compare_embeddings.

    The rank correlation is Spearman's, between the scores of all pairs in both; with several
    labels, the lowest of them.
    """
    if candidate.sentence is None or reference.sentence is None:
        raise ValueError("the graph has no output with scores, (batch, labels)")
    theirs, ours = reference.sentence, candidate.sentence
    check_comparable(theirs, ours, "logits", text_ids)
    first = first_rows(text_ids)
    columns = zip(theirs[first].T, ours[first].T, strict=True)
    return summarized(
        theirs,
        ours,
        similarity=agreements(theirs, ours, spread(theirs)),
        rank_correlation=min(
            rank_correlation(a.astype(np.float64), b.astype(np.float64)) for a, b in columns
        ),
        text_ids=text_ids,
        batch=batch,
        measure=Measure.AGREEMENT,
    )


def _agreements_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    if embeddings.sentence is None:
        raise ValueError("the graph has no output with scores, (batch, labels)")
    scores = embeddings.sentence
    return agreements(scores[list(rows)], scores[list(others)], spread(scores))


COMPARISON = Comparison(
    read=read_matrix("logits"), compare=compare_scores, likeness=_agreements_of_rows
)
