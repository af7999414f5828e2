"""Compares embeddings; numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.comparison import Comparison
from embconvert.fidelity.figures import (
    Embeddings,
    Fidelity,
    FloatArray,
    check_comparable,
    cosines,
    first_rows,
    largest_difference,
    largest_value,
    summarized,
)
from embconvert.fidelity.lengths import check_lengths
from embconvert.fidelity.ranking import Scores, kept_neighbours, rank_correlation
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.vector_codes import as_searched, bit_cosines, decoded, rounded
from embconvert.models.output_rules import OutputRules
from embconvert.models.vector_code import VectorCode


def _read_embeddings(
    values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
) -> Embeddings:
    """Finds a graph's outputs by embconvert's names, otherwise by rank."""
    mask = texts.batch(indices, ("attention_mask",))["attention_mask"]
    sentence = values.get("sentence_embedding")
    tokens = values.get("last_hidden_state", values.get("token_embeddings"))
    for value in values.values():
        if tokens is None and value.ndim == 3:
            tokens = value
        elif sentence is None and value.ndim == 2 and "last_hidden_state" not in values:
            sentence = value
    token_mean = None
    if tokens is not None:
        weights = mask[:, :, None].astype(np.float32)
        total = (tokens.astype(np.float32) * weights).sum(axis=1)
        token_mean = total / np.maximum(weights.sum(axis=1), 1.0)
    return Embeddings(
        sentence=None if sentence is None else sentence.astype(np.float32), token_mean=token_mean
    )


def pairwise_cosines(embeddings: FloatArray) -> Scores:
    """Returns the cosines of all pairs of rows, (n, n)."""
    x = embeddings.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    similarities: Scores = unit @ unit.T
    return similarities


def compare_embeddings(
    reference: Embeddings, candidate: Embeddings, *, text_ids: list[str], batch: float
) -> Fidelity:
    """Compares a graph's embeddings with the reference, for the same texts.

    For a graph without pooled embeddings, the mean of the token vectors is compared. For rank
    correlation and neighbours, repeated texts count once and blank ones not at all. Raises
    ValueError if shapes or lengths differ, there is nothing to compare, or a value is not finite.
    """
    outputs = (
        ("last_hidden_state", reference.token_mean, candidate.token_mean),
        ("sentence_embedding", reference.sentence, candidate.sentence),
    )
    in_both = {name: (a, b) for name, a, b in outputs if a is not None and b is not None}
    if not in_both:
        raise ValueError("the graph has neither of the outputs that could be compared")
    for name, (theirs, ours) in in_both.items():
        check_comparable(theirs, ours, name, text_ids)
        check_lengths(theirs, ours, name)
    token_mean_cosine: float | None = None
    difference = 0.0
    if "last_hidden_state" in in_both:
        theirs, ours = in_both["last_hidden_state"]
        token_mean_cosine = float(cosines(theirs, ours).min())
        difference = largest_difference(theirs, ours) / largest_value(theirs)
    theirs, ours = in_both.get("sentence_embedding") or in_both["last_hidden_state"]
    first = first_rows(text_ids)
    before, after = pairwise_cosines(theirs[first]), pairwise_cosines(ours[first])
    pairs = np.triu_indices(len(first), k=1)
    figures = summarized(
        theirs,
        ours,
        similarity=cosines(theirs, ours),
        rank_correlation=rank_correlation(before[pairs], after[pairs]),
        neighbours=kept_neighbours(before, after, range(len(first))),
        text_ids=text_ids,
        batch=batch,
        token_mean_cosine=token_mean_cosine,
    )
    return replace(figures, relative_diff=max(difference, figures.relative_diff))


def _primary(embeddings: Embeddings) -> FloatArray:
    if embeddings.sentence is not None:
        return embeddings.sentence
    if embeddings.token_mean is not None:
        return embeddings.token_mean
    raise ValueError("the graph has neither token embeddings nor sentence embeddings")


def _cosines_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    vectors = _primary(embeddings)
    return cosines(vectors[list(rows)], vectors[list(others)])


def compare_codes(
    reference: Embeddings,
    candidate: Embeddings,
    *,
    code: VectorCode,
    text_ids: list[str],
    batch: float,
) -> Fidelity:
    """Compares decoded() embeddings with the reference's of floats, like compare_embeddings."""
    theirs, ours = reference.sentence, candidate.sentence
    if theirs is None or ours is None:
        raise ValueError("the graph has no output sentence_embedding")
    check_comparable(theirs, ours, "sentence_embedding", text_ids)
    rows = rounded(theirs, code)
    figures = compare_embeddings(
        replace(reference, sentence=as_searched(rows, code)),
        replace(candidate, sentence=as_searched(ours, code)),
        text_ids=text_ids,
        batch=batch,
    )
    is_bits = code.precision.is_bits
    similarity = bit_cosines(theirs, ours) if is_bits else cosines(rows, ours)
    if is_bits:  # the largest difference of any two bits would be that of all
        rows, ours = np.ones((len(rows), 1), np.float32), similarity[:, None].astype(np.float32)
    return summarized(
        rows,
        ours,
        similarity=similarity,
        rank_correlation=figures.rank_correlation,
        neighbours=figures.neighbours,
        text_ids=text_ids,
        batch=batch,
        token_mean_cosine=figures.token_mean_cosine,
    )


def _for_codes(rules: OutputRules) -> Comparison:
    assert isinstance(rules, VectorCode)

    def read(
        values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
    ) -> Embeddings:
        found = _read_embeddings(values, texts, indices)
        if "sentence_embedding" not in values:
            return replace(found, sentence=None)
        return replace(found, sentence=decoded(values["sentence_embedding"], rules))

    return replace(COMPARISON, read=read, compare=partial(compare_codes, code=rules))


COMPARISON = Comparison(
    read=_read_embeddings, compare=compare_embeddings, likeness=_cosines_of_rows, adapted=_for_codes
)
