"""Compares the token vectors of late-interaction models; numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.comparison import Comparison
from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    first_rows,
    summarized,
    token_cosines,
)
from embconvert.fidelity.lengths import check_lengths
from embconvert.fidelity.ranking import kept_neighbours, rank_correlation
from embconvert.fidelity.texts import is_query_id, text_id_of
from embconvert.fidelity.tokenization import TokenizedTexts

# Of a model that reads queries like documents: the number of queries, and their maximum length.
_QUERIES = 48
_QUERY_TOKENS = 64


def max_sim(
    queries: Sequence[FloatArray], documents: Sequence[FloatArray]
) -> npt.NDArray[np.float64]:
    """Returns the MaxSim score of each query and document, (queries, documents) float64.

    Each is (tokens, dim) float32; documents have at least one token. Source:
    https://arxiv.org/abs/2004.12832, section 3.3.
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
    all_are_queries: bool = False,
) -> Fidelity:
    """Compares token vectors with the reference, like compare_embeddings.

    A text's cosine is the mean over its scored tokens. Rank correlation and neighbours are by the
    MaxSim scores of all documents for all queries. If `all_are_queries`, as where queries are read
    like documents, some short texts are both.
    """
    theirs, ours = reference.tokens, candidate.tokens
    if theirs is None or ours is None:
        raise ValueError("the graph has no output with token vectors, (batch, seq, dim)")
    for name, a, b in zip(text_ids, theirs, ours, strict=True):
        check_comparable(a, b, "token_embeddings", [name] * max(1, len(b)))
    all_theirs, all_ours = np.concatenate(theirs), np.concatenate(ours)
    check_lengths(all_theirs, all_ours, "token_embeddings")
    similarity, lowest = token_cosines(theirs, ours)
    rows = first_rows(text_ids)
    documents = [i for i in rows if not is_query_id(text_ids[i]) and len(theirs[i])]
    queries = [i for i in rows if is_query_id(text_ids[i])]
    if all_are_queries:
        short = [i for i in documents if len(theirs[i]) <= _QUERY_TOKENS]
        queries = short[:: max(1, len(short) // _QUERIES)]
    column = {text_ids[i]: n for n, i in enumerate(documents)}
    before, after = (
        max_sim([x[i] for i in queries], [x[i] for i in documents]) for x in (theirs, ours)
    )
    figures = summarized(
        all_theirs,
        all_ours,
        similarity=similarity,
        rank_correlation=rank_correlation(before.ravel(), after.ravel()),
        neighbours=kept_neighbours(
            before, after, [column.get(text_id_of(text_ids[i])) for i in queries]
        ),
        text_ids=text_ids,
        batch=batch,
    )
    return replace(figures, lowest_token_cosine=lowest)


def _read_tokens(
    values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
) -> Embeddings:
    """Returns the scored tokens' vectors."""
    counting = texts.counting(indices)
    found = values.get("token_embeddings")
    candidates = [v for v in values.values() if v.ndim == 3 and v.shape[:2] == counting.shape]
    if found is None and len(candidates) == 1:
        found = candidates[0]
    if found is None:
        return Embeddings(sentence=None, token_mean=None)
    vectors = zip(found.astype(np.float32), counting, strict=True)
    return Embeddings(
        sentence=None, token_mean=None, tokens=tuple(tokens[mask] for tokens, mask in vectors)
    )


def _token_cosines_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    if embeddings.tokens is None:
        raise ValueError("the graph has no output with token vectors, (batch, seq, dim)")
    tokens = embeddings.tokens
    return token_cosines([tokens[i] for i in rows], [tokens[i] for i in others])[0]


COMPARISON = Comparison(read=_read_tokens, compare=compare_tokens, likeness=_token_cosines_of_rows)
