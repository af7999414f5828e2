"""How close two sets of a reranker's scores are; numpy only."""

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    first_rows,
    spearman,
    summarized,
)
from embconvert.models.kinds import Measure


def spread(scores: FloatArray) -> float:
    """Returns the standard deviation of scores over pairs, that of all labels together.

    Where all pairs score alike, it is the largest score, or 1.

    Args:
        scores: (pairs, labels) float32.
    """
    x = scores.astype(np.float64)
    deviation = float(np.sqrt(((x - x.mean(axis=0)) ** 2).mean()))
    largest = float(np.abs(x).max(initial=0.0))
    # Below float32's rounding, the deviation is of rounding alone.
    return deviation if deviation > 1e-6 * largest else largest or 1.0


def agreements(a: FloatArray, b: FloatArray, scale: float) -> npt.NDArray[np.float64]:
    """Returns Measure.AGREEMENT of each pair, (pairs,) float64, from 1 down to -1.

    Args:
        a: (pairs, labels) float32.
        b: Likewise.
        scale: The spread of the scores.
    """
    distance = np.abs(a.astype(np.float64) - b).max(axis=1) / scale
    found: npt.NDArray[np.float64] = np.clip(1.0 - distance**2 / 2, -1.0, 1.0)
    return found


def compare_scores(
    reference: Embeddings,
    candidate: Embeddings,
    *,
    text_ids: list[str],
    batch: float,
    texts_per_second: float,
) -> Fidelity:
    """Compares a graph's scores with the reference's; as figures.compare.

    The rank correlation is Spearman's, between the scores of all pairs in both; of several labels,
    the lowest of any.

    Raises:
        ValueError: The shapes differ, there is nothing to compare, or a value is not finite.
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
            spearman(a.astype(np.float64), b.astype(np.float64)) for a, b in columns
        ),
        text_ids=text_ids,
        batch=batch,
        texts_per_second=texts_per_second,
        measure=Measure.AGREEMENT,
    )
