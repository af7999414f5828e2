"""How what a graph gives is read and compared, by the kind of its model; one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import Embeddings, Fidelity, FloatArray, compare, cosines
from embconvert.fidelity.late_interaction import compare_tokens, token_cosines
from embconvert.fidelity.scores import agreements, compare_scores, spread
from embconvert.fidelity.sparse import compare_sparse, wide_cosines
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.kinds import Kind

_Reader = Callable[[Mapping[str, Any], TokenizedTexts, Sequence[int]], Embeddings]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a kind's outputs are read and compared.

    Attributes:
        read: From a graph's outputs by name, all texts and the indices of a batch, to what it
            made of that batch.
        compare: As figures.compare.
        likeness: From what a graph made of all texts, and two lists of rows of it, to how near
            each row is to its counterpart.
    """

    read: _Reader
    compare: Callable[..., Fidelity]
    likeness: Callable[[Embeddings, Sequence[int], Sequence[int]], npt.NDArray[np.float64]]


def _read_embeddings(
    values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
) -> Embeddings:
    """Recognizes a graph's outputs: by embconvert's names, else by rank."""
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


def _read_matrix(name: str) -> _Reader:
    """Returns a reader of one vector a text: by its name, else the only output of that rank."""

    def read(
        values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
    ) -> Embeddings:
        del texts, indices
        found = values.get(name)
        matrices = [value for value in values.values() if value.ndim == 2]
        if found is None and len(matrices) == 1:
            found = matrices[0]
        return Embeddings(
            sentence=None if found is None else found.astype(np.float32), token_mean=None
        )

    return read


def _read_tokens(
    values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
) -> Embeddings:
    """Returns the vectors of the tokens that count, of the output with a vector for each."""
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


def _agreements_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    if embeddings.sentence is None:
        raise ValueError("the graph has no output with scores, (batch, labels)")
    scores = embeddings.sentence
    return agreements(scores[list(rows)], scores[list(others)], spread(scores))


def _wide_cosines_of_rows(
    embeddings: Embeddings, rows: Sequence[int], others: Sequence[int]
) -> npt.NDArray[np.float64]:
    if embeddings.sentence is None:
        raise ValueError("the graph has no output with sparse vectors, (batch, vocabulary)")
    return wide_cosines(embeddings.sentence[list(rows)], embeddings.sentence[list(others)])


COMPARISONS: Mapping[Kind, Comparison] = MappingProxyType(
    {
        Kind.EMBEDDING: Comparison(
            read=_read_embeddings, compare=compare, likeness=_cosines_of_rows
        ),
        Kind.RERANKER: Comparison(
            read=_read_matrix("logits"), compare=compare_scores, likeness=_agreements_of_rows
        ),
        Kind.SPARSE: Comparison(
            read=_read_matrix("sentence_embedding"),
            compare=compare_sparse,
            likeness=_wide_cosines_of_rows,
        ),
        Kind.LATE_INTERACTION: Comparison(
            read=_read_tokens, compare=compare_tokens, likeness=_token_cosines_of_rows
        ),
    }
)
