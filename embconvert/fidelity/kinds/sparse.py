"""Compares sparse vectors; numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.comparison import Comparison, Reader, read_matrix
from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    cosines,
    first_rows,
    summarized,
    token_cosines,
)
from embconvert.fidelity.lengths import check_lengths
from embconvert.fidelity.ranking import kept_neighbours, rank_correlation
from embconvert.fidelity.token_logits import read_logits
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.kinds import TOKEN_LOGITS
from embconvert.models.output_rules import OutputRules
from embconvert.models.splade import Splade

# Vectors are as long as the vocabulary, so only a few are converted to float64 at a time.
_ROWS = 32


def wide_cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Returns the cosine of each pair of rows like figures.cosines, with less memory."""
    parts = [cosines(a[i : i + _ROWS], b[i : i + _ROWS]) for i in range(0, len(a), _ROWS)]
    return np.concatenate(parts)


def active_overlap(a: FloatArray, b: FloatArray) -> float:
    """Returns Fidelity.active_overlap of two (n, vocabulary) float32 arrays."""
    shares = []
    for x, y in zip(a, b, strict=True):
        either = np.count_nonzero((x != 0) | (y != 0))
        both = np.count_nonzero((x != 0) & (y != 0))
        shares.append(both / either if either else 1.0)
    return float(np.mean(shares))


def compare_sparse(
    reference: Embeddings, candidate: Embeddings, *, text_ids: list[str], batch: float
) -> Fidelity:
    """Compares sparse vectors with the reference, like compare_embeddings.

    Rank correlation and neighbours are by the dot products of all pairs of texts, which searches
    use. Of a graph that gives token logits, a sample of these is compared, too.
    """
    if candidate.sentence is None or reference.sentence is None:
        raise ValueError("the graph has no output with sparse vectors, (batch, vocabulary)")
    theirs, ours = reference.sentence, candidate.sentence
    check_comparable(theirs, ours, "sentence_embedding", text_ids)
    check_lengths(theirs, ours, "sentence_embedding")
    first = first_rows(text_ids)
    before, after = ((x @ x.T).astype(np.float64) for x in (theirs[first], ours[first]))
    pairs = np.triu_indices(len(first), k=1)
    figures = summarized(
        theirs,
        ours,
        similarity=wide_cosines(theirs, ours),
        rank_correlation=rank_correlation(before[pairs], after[pairs]),
        neighbours=kept_neighbours(before, after, range(len(first))),
        text_ids=text_ids,
        batch=batch,
    )
    lowest: float | None = None
    if reference.tokens is not None and candidate.tokens is not None:
        for name, a, b in zip(text_ids, reference.tokens, candidate.tokens, strict=True):
            check_comparable(a, b, TOKEN_LOGITS, [name] * len(b))
        lowest = token_cosines(reference.tokens, candidate.tokens)[1]
    return replace(
        figures,
        lowest_token_cosine=lowest,
        active_dims=float(np.count_nonzero(ours[first]) / len(first)),
        active_overlap=active_overlap(theirs[first], ours[first]),
    )


def _wide_cosines_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    if embeddings.sentence is None:
        raise ValueError("the graph has no output with sparse vectors, (batch, vocabulary)")
    return wide_cosines(embeddings.sentence[list(rows)], embeddings.sentence[list(others)])


def _logits_reader(splade: Splade) -> Reader:
    """Returns a reader of token logits, found by name or as the only 3D output."""

    def read(
        values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
    ) -> Embeddings:
        mask = texts.batch(indices, ("attention_mask",))["attention_mask"].astype(bool)
        candidates = [value for value in values.values() if value.ndim == 3]
        found = values.get(TOKEN_LOGITS, candidates[0] if len(candidates) == 1 else None)
        if found is None or found.shape[:2] != mask.shape:
            raise ValueError("the graph has no output with token logits, (batch, seq, vocabulary)")
        return read_logits(found, mask, splade)

    return read


def _for_logits(rules: OutputRules) -> Comparison:
    assert isinstance(rules, Splade)
    return replace(COMPARISON, read=_logits_reader(rules))


COMPARISON = Comparison(
    read=read_matrix("sentence_embedding"),
    compare=compare_sparse,
    likeness=_wide_cosines_of_rows,
    adapted=_for_logits,
)
