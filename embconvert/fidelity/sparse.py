"""How close two sets of sparse vectors are; numpy only."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    cosines,
    first_rows,
    spearman,
    summarized,
)

# Vectors are as long as a vocabulary: so many at a time are looked at in float64.
_ROWS = 32


def wide_cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Returns the cosine of each pair of rows, (n,); as figures.cosines, with less memory.

    Args:
        a: (n, vocabulary) float32.
        b: Likewise.
    """
    parts = [cosines(a[i : i + _ROWS], b[i : i + _ROWS]) for i in range(0, len(a), _ROWS)]
    return np.concatenate(parts)


def active_overlap(a: FloatArray, b: FloatArray) -> float:
    """Returns how many of the dimensions that are not zero in a text are so in both, on average.

    Args:
        a: (n, vocabulary) float32.
        b: Likewise.
    """
    shares = []
    for x, y in zip(a, b, strict=True):
        either = np.count_nonzero((x != 0) | (y != 0))
        both = np.count_nonzero((x != 0) & (y != 0))
        shares.append(both / either if either else 1.0)
    return float(np.mean(shares))


def compare_sparse(
    reference: Embeddings,
    candidate: Embeddings,
    *,
    text_ids: list[str],
    batch: float,
    texts_per_second: float,
) -> Fidelity:
    """Compares a graph's sparse vectors with the reference's; as figures.compare.

    The rank correlation is between the products of all pairs of texts, by which such vectors are
    searched.

    Raises:
        ValueError: The shapes differ, there is nothing to compare, or a value is not finite.
    """
    if candidate.sentence is None or reference.sentence is None:
        raise ValueError("the graph has no output with sparse vectors, (batch, vocabulary)")
    theirs, ours = reference.sentence, candidate.sentence
    check_comparable(theirs, ours, "sentence_embedding", text_ids)
    first = first_rows(text_ids)
    upper = np.triu_indices(len(first), k=1)
    products = [(x @ x.T)[upper].astype(np.float64) for x in (theirs[first], ours[first])]
    figures = summarized(
        theirs,
        ours,
        similarity=wide_cosines(theirs, ours),
        rank_correlation=spearman(products[0], products[1]),
        text_ids=text_ids,
        batch=batch,
        texts_per_second=texts_per_second,
    )
    return replace(
        figures,
        active_dims=float(np.count_nonzero(ours[first]) / len(first)),
        active_overlap=active_overlap(theirs[first], ours[first]),
    )
