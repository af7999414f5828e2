"""How close the token vectors of two late-interaction models are; numpy only."""

from collections.abc import Sequence
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
from embconvert.fidelity.texts import is_query_id


def token_cosines(
    a: Sequence[FloatArray], b: Sequence[FloatArray]
) -> tuple[npt.NDArray[np.float64], float]:
    """Compares token vectors under the mask.

    Args:
        a: For each text (tokens, dim) float32; only tokens that count.
        b: Likewise; as many tokens.

    Returns:
        The mean of each text, (texts,), 1 where no token counts; and the lowest of any token.
    """
    of_texts = [cosines(x, y) if len(x) else np.ones(1) for x, y in zip(a, b, strict=True)]
    means = np.array([values.mean() for values in of_texts])
    return means, min(float(values.min()) for values in of_texts)


def max_sim(
    queries: Sequence[FloatArray], documents: Sequence[FloatArray]
) -> npt.NDArray[np.float64]:
    """Returns each query's score of each document, (queries, documents) float64.

    Of each of the query's vectors the largest product with one of the document's, added up.
    Source: https://arxiv.org/abs/2004.12832, section 3.3.

    Args:
        queries: For each (tokens, dim) float32.
        documents: Likewise; each has a token at least.
    """
    starts = np.cumsum([0, *(len(document) for document in documents)])[:-1]
    together = np.concatenate(documents)
    scores = [np.maximum.reduceat(q @ together.T, starts, axis=1).sum(axis=0) for q in queries]
    return np.array(scores, np.float64)


def compare_tokens(
    reference: Embeddings,
    candidate: Embeddings,
    *,
    text_ids: list[str],
    batch: float,
    texts_per_second: float,
) -> Fidelity:
    """Compares a graph's token vectors with the reference's; as figures.compare.

    A text's cosine is the mean over its tokens that count. The rank correlation is between the
    scores (MaxSim) of all documents for all queries.

    Raises:
        ValueError: A text has other tokens, there is nothing to compare, or a value is not finite.
    """
    theirs, ours = reference.tokens, candidate.tokens
    if theirs is None or ours is None:
        raise ValueError("the graph has no output with token vectors, (batch, seq, dim)")
    for name, a, b in zip(text_ids, theirs, ours, strict=True):
        check_comparable(a, b, "token_embeddings", [name] * max(1, len(b)))
    similarity, lowest = token_cosines(theirs, ours)
    rows = first_rows(text_ids)
    queries = [i for i in rows if is_query_id(text_ids[i])]
    documents = [i for i in rows if not is_query_id(text_ids[i]) and len(theirs[i])]
    scores = [max_sim([x[i] for i in queries], [x[i] for i in documents]) for x in (theirs, ours)]
    figures = summarized(
        np.concatenate(theirs),
        np.concatenate(ours),
        similarity=similarity,
        rank_correlation=spearman(scores[0].ravel(), scores[1].ravel()),
        text_ids=text_ids,
        batch=batch,
        texts_per_second=texts_per_second,
    )
    return replace(figures, lowest_token_cosine=lowest)
