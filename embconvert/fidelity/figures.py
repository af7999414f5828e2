"""How close two sets of embeddings are; numpy only."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import MaxLen, MinLen

from embconvert.models.constraints import (
    Cosine,
    Count,
    Distance,
    MayDiffer,
    Name,
    Positive,
    Rate,
    Record,
    Share,
)
from embconvert.models.kinds import Measure

FloatArray = npt.NDArray[np.float32]

#: Edges between the bins of Fidelity.histogram: distances (1 - cosine) from 1e-7, which is float32
#: rounding, to 1, four bins to a decade.
HISTOGRAM_EDGES: tuple[float, ...] = tuple(float(10.0 ** (k / 4)) for k in range(-28, 1))
_BINS = len(HISTOGRAM_EDGES) + 1
#: How many of the texts with the lowest similarities are noted.
WORST_TEXTS = 10


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What one runtime made of the verification texts.

    Attributes:
        sentence: Pooled embeddings, (texts, dim) float32, or the scores of a reranker,
            (pairs, labels); None when the graph has no such output.
        token_mean: Mean over each text's tokens of the last hidden state, (texts, hidden)
            float32; it vouches for output 0, which many consumers pool themselves; None when
            the graph has no such output.
        tokens: For each text the vectors of its tokens that count, (tokens, dim) float32; None
            but for late-interaction models.
    """

    sentence: FloatArray | None
    token_mean: FloatArray | None
    tokens: tuple[FloatArray, ...] | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all of it are numbers."""
        arrays = (self.sentence, self.token_mean, *(self.tokens or ()))
        return all(bool(np.isfinite(array).all()) for array in arrays if array is not None)


@dataclass(frozen=True, kw_only=True)
class Similarity(Record):
    """How near what a graph gives is to what the source gives; 1 is the same.

    Attributes:
        measure: What is told.
        mean: Over the texts.
        p1: First percentile.
        min: Of the text that is farthest off.
        batch: Lowest between what a text gives alone and in any batch; 1 means that nothing
            depends on a text's neighbours.
    """

    measure: Measure
    mean: Cosine
    p1: Cosine
    min: Cosine
    batch: Cosine


@dataclass(frozen=True, kw_only=True)
class WorstText(Record):
    """The lowest similarity of one text, over all batches that it was in."""

    text: Name
    similarity: Cosine


@dataclass(frozen=True, kw_only=True)
class LayerCosine(Record):
    """How far the hidden states after one layer are from those of the exported graph.

    Attributes:
        layer: Its place, counted from 0.
        cosine: Mean over tokens.
    """

    layer: Count
    cosine: Cosine


@dataclass(frozen=True, kw_only=True)
class Fidelity(Record):
    """Figures of one graph against the reference.

    Of a reranker's graph, a text is a pair of texts.

    Attributes:
        texts: Number of texts compared.
        max_abs_diff: Largest absolute difference of any component.
        relative_diff: That, divided by the largest absolute component of the reference.
        similarity: How near the embeddings are.
        rank_correlation: Spearman's, between the pairwise similarities of the texts in both.
        token_mean_cosine: Lowest cosine of the mean-pooled output 0; None when it has none.
        worst_texts: Those with the lowest similarities, the lowest first.
        histogram: Texts by their distance (1 - similarity), between HISTOGRAM_EDGES; the first bin
            is below the first edge, the last above the last.
        texts_per_second: Throughput over the verification texts, in batches of 32 of similar
            length.
        layers: After each layer, the distance from the exported graph; empty when that was not
            measured, or nothing is lost.
        active_dims: Of sparse vectors, how many dimensions are not zero, on average.
        active_overlap: Of sparse vectors, how many of the dimensions that are not zero here or in
            the reference are so in both, on average.
        lowest_token_cosine: Of token vectors, the lowest of any token that counts.
    """

    texts: Positive
    max_abs_diff: Distance
    relative_diff: Distance
    similarity: Similarity
    rank_correlation: Cosine
    token_mean_cosine: Cosine | None
    worst_texts: Annotated[tuple[WorstText, ...], MinLen(1), MaxLen(WORST_TEXTS)]
    histogram: Annotated[tuple[Count, ...], MinLen(_BINS), MaxLen(_BINS)]
    texts_per_second: Annotated[Rate, MayDiffer()]
    layers: Annotated[tuple[LayerCosine, ...], MaxLen(10_000)] = ()
    active_dims: Distance | None = None
    active_overlap: Share | None = None
    lowest_token_cosine: Cosine | None = None

    @property
    def is_same(self) -> bool:
        """Whether the embeddings are the reference's but for float32 rounding."""
        return 1 - self.similarity.min < HISTOGRAM_EDGES[0]

    @property
    def worst_text(self) -> str:
        """Id of the text with the lowest cosine."""
        return self.worst_texts[0].text


def cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Returns the cosine of each pair of rows, (n,) float64.

    Two zero vectors agree (1); a zero vector and another do not (0).

    Args:
        a: (n, dim) float32.
        b: (n, dim) float32.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    product = norms[0] * norms[1]
    dots = np.einsum("nd,nd->n", x, y)
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    ratio = np.divide(dots, product, out=np.zeros_like(dots), where=product > 0)
    return np.where(both_zero, 1.0, np.clip(ratio, -1.0, 1.0))


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns ranks, ties sharing their mean rank, (n,) float64."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks


def spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Returns Spearman's rank correlation of two (n,) arrays; 1 when both are constant.

    Source: Spearman (1904); Pearson's correlation of the ranks.
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    if scale == 0:
        return float(np.array_equal(x, y))
    return float(x @ y / scale)


def pairwise_similarities(embeddings: FloatArray) -> npt.NDArray[np.float64]:
    """Returns the cosines of all pairs of rows, (n * (n - 1) / 2,) float64."""
    x = embeddings.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    upper = np.triu_indices(len(x), k=1)
    similarities: npt.NDArray[np.float64] = (unit @ unit.T)[upper]
    return similarities


def compare(
    reference: Embeddings,
    candidate: Embeddings,
    *,
    text_ids: list[str],
    batch: float,
    texts_per_second: float,
) -> Fidelity:
    """Compares a graph's embeddings with the reference's.

    The pooled embeddings are compared; for a graph without them, the mean of the token vectors.

    Args:
        reference: Of the source model.
        candidate: Of the graph; same texts, same order.
        text_ids: One for each row; a text that comes again counts once for the rank correlation.
        batch: See Similarity.
        texts_per_second: See Fidelity.

    Raises:
        ValueError: The shapes differ, there is nothing to compare, or a value is not finite.
    """
    token_mean_cosine: float | None = None
    if candidate.token_mean is not None and reference.token_mean is not None:
        check_comparable(reference.token_mean, candidate.token_mean, "last_hidden_state", text_ids)
        token_mean_cosine = float(cosines(reference.token_mean, candidate.token_mean).min())
    if candidate.sentence is not None and reference.sentence is not None:
        ours, theirs = candidate.sentence, reference.sentence
    elif candidate.token_mean is not None and reference.token_mean is not None:
        ours, theirs = candidate.token_mean, reference.token_mean
    else:
        raise ValueError("the graph has neither of the outputs that could be compared")
    check_comparable(theirs, ours, "sentence_embedding", text_ids)
    first = first_rows(text_ids)
    return summarized(
        theirs,
        ours,
        similarity=cosines(theirs, ours),
        rank_correlation=spearman(
            pairwise_similarities(theirs[first]), pairwise_similarities(ours[first])
        ),
        text_ids=text_ids,
        batch=batch,
        texts_per_second=texts_per_second,
        token_mean_cosine=token_mean_cosine,
    )


def first_rows(text_ids: list[str]) -> list[int]:
    """Returns the first row of each text: one that comes again counts once in rank correlations."""
    return [text_ids.index(name) for name in dict.fromkeys(text_ids)]


def summarized(
    theirs: FloatArray,
    ours: FloatArray,
    *,
    similarity: npt.NDArray[np.float64],
    rank_correlation: float,
    text_ids: list[str],
    batch: float,
    texts_per_second: float,
    token_mean_cosine: float | None = None,
    measure: Measure = Measure.COSINE,
) -> Fidelity:
    """Returns the figures of what was compared.

    Args:
        theirs: What the source gives, (texts, n) float32.
        ours: What the graph gives, of the same shape.
        similarity: How near each row is, (texts,).
        rank_correlation: See Fidelity.
        text_ids: One for each row.
        batch: See Similarity.
        texts_per_second: See Fidelity.
        token_mean_cosine: See Fidelity.
        measure: What similarity is of.
    """
    difference = max(
        float(np.abs(a.astype(np.float64) - b).max(initial=0.0))
        for a, b in zip(theirs, ours, strict=True)
    )
    lowest: dict[str, float] = {}
    for name, cosine in zip(text_ids, similarity.tolist(), strict=True):
        lowest[name] = min(round(cosine, 9), lowest.get(name, 1.0))
    worst = sorted(lowest.items(), key=lambda item: (item[1], item[0]))[:WORST_TEXTS]
    bins = np.searchsorted(HISTOGRAM_EDGES, 1.0 - np.array(list(lowest.values())), side="right")
    return Fidelity(
        texts=len(lowest),
        max_abs_diff=difference,
        relative_diff=difference / max(float(np.abs(theirs).max()), 1e-30),
        similarity=Similarity(
            measure=measure,
            mean=float(similarity.mean()),
            p1=float(np.percentile(similarity, 1)),
            min=float(similarity.min()),
            batch=batch,
        ),
        rank_correlation=rank_correlation,
        token_mean_cosine=token_mean_cosine,
        worst_texts=tuple(WorstText(text=name, similarity=cosine) for name, cosine in worst),
        histogram=tuple(np.bincount(bins, minlength=len(HISTOGRAM_EDGES) + 1).tolist()),
        texts_per_second=texts_per_second,
    )


def check_comparable(theirs: FloatArray, ours: FloatArray, what: str, text_ids: list[str]) -> None:
    """Refuses what cannot be compared.

    Args:
        theirs: What the source gives, a row for each text.
        ours: What the graph gives.
        what: Its name in the graph.
        text_ids: One for each row.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    if theirs.shape != ours.shape:
        raise ValueError(f"{what} has shape {ours.shape} where the source gives {theirs.shape}")
    if not np.isfinite(theirs).all():
        raise ValueError(f"the source model itself gives values in {what} that are not finite")
    finite = np.isfinite(ours).all(axis=1)
    if not finite.all():
        bad = text_ids[int((~finite).argmax())]
        raise ValueError(f"{what} has values that are not finite, first for text {bad}")
