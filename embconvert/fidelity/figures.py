"""Figures that compare two sets of embeddings; numpy only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import MaxLen, MinLen

from embconvert.fidelity.ranking import Neighbours
from embconvert.fidelity.texts import is_blank_id
from embconvert.fidelity.words import Words
from embconvert.models.constraints import Cosine, Count, Distance, Name, Positive, Record, Share
from embconvert.models.kinds import Kind, Measure

FloatArray = npt.NDArray[np.float32]

#: Edges of the bins of Fidelity.histogram: distances (1 - cosine) from 1e-7, which is float32
#: rounding, to 1, with four bins per decade.
HISTOGRAM_EDGES: tuple[float, ...] = tuple(float(10.0 ** (k / 4)) for k in range(-28, 1))
_BINS = len(HISTOGRAM_EDGES) + 1
#: Number of texts in Fidelity.worst_texts.
WORST_TEXTS = 10


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """A model's outputs for the verification texts.

    Attributes:
        sentence: Pooled embeddings, (texts, dim) float32, or the scores of a reranker, (pairs,
            labels); None if the graph has no such output.
        token_mean: Mean of the last hidden state over each text's tokens, (texts, hidden) float32,
            to check output 0, which many consumers pool themselves; None if the graph has no such
            output.
        tokens: For each text the vectors of its scored tokens, (tokens, dim) float32, for late
            interaction, or a sample of the logits of its tokens, of graphs that give them; None for
            others.
        words: For each text the weights of its tokens' ids; only for a head that gives them.
    """

    sentence: FloatArray | None
    token_mean: FloatArray | None
    tokens: tuple[FloatArray, ...] | None = None
    words: tuple[Words, ...] | None = None

    def rows(self, rows: Sequence[int]) -> "Embeddings":
        """Returns those of some texts, in this order."""
        chosen = list(rows)
        return Embeddings(
            sentence=None if self.sentence is None else self.sentence[chosen],
            token_mean=None if self.token_mean is None else self.token_mean[chosen],
            tokens=None if self.tokens is None else tuple(self.tokens[row] for row in chosen),
            words=None if self.words is None else tuple(self.words[row] for row in chosen),
        )

    @property
    def is_finite(self) -> bool:
        weights = (of_ids for _, of_ids in self.words or ())
        arrays = (self.sentence, self.token_mean, *(self.tokens or ()), *weights)
        return all(bool(np.isfinite(array).all()) for array in arrays if array is not None)

    @property
    def is_constant(self) -> bool:
        """Whether all texts have the same embedding or score, but for float32 rounding."""
        rows = self.sentence
        if rows is None:
            rows = np.concatenate(self.tokens) if self.tokens else np.empty((0, 1), np.float32)
        if len(rows) < 2:
            return False
        return float(np.ptp(rows, axis=0).max()) <= 1e-6 * float(np.abs(rows).max())


@dataclass(frozen=True, kw_only=True)
class Similarity(Record):
    """Similarity of a graph's outputs to the source's; 1 is equal.

    Attributes:
        measure: The cosine; of rerankers' scores, their agreement.
        mean: Over the texts that are not blank.
        error: Standard error of the mean, as of a sample of the texts.
        p1: First percentile over the same texts.
        min: Lowest of the same texts.
        batch: Lowest between a text's output alone and in any batch; 1 if the batch does not
            matter.
    """

    measure: Measure
    mean: Cosine
    error: Distance
    p1: Cosine
    min: Cosine
    batch: Cosine


@dataclass(frozen=True, kw_only=True)
class WorstText(Record):
    """The lowest similarity of a text over all of its batches."""

    text: Name
    similarity: Cosine


@dataclass(frozen=True, kw_only=True)
class LayerCosine(Record):
    """Cosine of the hidden states after a layer to those of the exported graph.

    Attributes:
        layer: Index, from 0.
        cosine: Mean over tokens.
    """

    layer: Count
    cosine: Cosine


@dataclass(frozen=True, kw_only=True)
class Fidelity(Record):
    """Figures that compare a graph with the reference.

    For rerankers, a text is a pair of texts.

    Attributes:
        texts: Number of compared texts.
        max_abs_diff: Largest absolute difference of any component.
        relative_diff: max_abs_diff divided by the largest absolute component of the reference; of
            an embedding model that of the mean-pooled output 0, if it is larger.
        similarity: Of the outputs.
        rank_correlation: Spearman's, between the pairwise similarities of the texts in both.
        neighbours: How many of the texts' nearest neighbours stay; None for rerankers.
        blank_similarity: Lowest of a text without visible characters; None without such texts.
            They tell nothing about a precision, so all other figures about texts omit them.
        token_mean_cosine: Lowest cosine of the mean-pooled output 0; None without that output.
        worst_texts: The texts with the lowest similarity, in ascending order.
        histogram: Numbers of texts by distance (1 - similarity). The edges of the bins are
            10^(k/4), k from -28 to 0: the first bin is below 1e-7, the last one above 1.
        layers: Similarity to the exported graph after each layer; empty if not measured, or if
            nothing is lost.
        active_dims: For sparse vectors, the mean number of non-zero dimensions.
        active_overlap: For sparse vectors, the mean share of dimensions that are non-zero in both,
            of those that are non-zero in either.
        lowest_token_cosine: The lowest of a scored token's vector, or of a sample of a token's
            logits; None if there are neither.
        heads: Of hybrid models, the same figures of each further output, by its kind.
        left_out: Number of texts that were not compared, because they have more tokens than a
            fixed shape.
        rest: Number of further texts, which were not compared because these settle the verdict.
    """

    texts: Positive
    max_abs_diff: Distance
    relative_diff: Distance
    similarity: Similarity
    rank_correlation: Cosine
    token_mean_cosine: Cosine | None
    worst_texts: Annotated[tuple[WorstText, ...], MinLen(1), MaxLen(WORST_TEXTS)]
    histogram: Annotated[tuple[Count, ...], MinLen(_BINS), MaxLen(_BINS)]
    layers: Annotated[tuple[LayerCosine, ...], MaxLen(10_000)] = ()
    neighbours: Neighbours | None = None
    blank_similarity: Cosine | None = None
    active_dims: Distance | None = None
    active_overlap: Share | None = None
    lowest_token_cosine: Cosine | None = None
    heads: Annotated[Mapping[Kind, "Fidelity"], MaxLen(10)] = field(default_factory=dict)
    left_out: Count = 0
    rest: Count = 0

    @property
    def of_outputs(self) -> dict[Kind | None, "Fidelity"]:
        """The figures of each output: under None the main one, then the heads."""
        heads: Iterable[tuple[Kind | None, Fidelity]] = self.heads.items()
        return dict([(None, self), *heads])

    @property
    def is_same(self) -> bool:
        """Whether the outputs differ from the reference only by float32 rounding."""
        lowest = min(figures.similarity.min for figures in self.of_outputs.values())
        return 1 - lowest < HISTOGRAM_EDGES[0]

    @property
    def lowest_mean(self) -> float:
        """The lowest mean similarity of an output."""
        return min(figures.similarity.mean for figures in self.of_outputs.values())

    @property
    def worst_text(self) -> str:
        """Id of the text with the lowest similarity."""
        return self.worst_texts[0].text


def cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    """Returns the cosine of each pair of rows, (n, dim) float32, as (n,) float64.

    It is 1 for two zero vectors, and 0 for a zero vector and another.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    product = norms[0] * norms[1]
    dots = np.einsum("nd,nd->n", x, y)
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    ratio = np.divide(dots, product, out=np.zeros_like(dots), where=product > 0)
    return np.where(both_zero, 1.0, np.clip(ratio, -1.0, 1.0))


def largest_difference(theirs: FloatArray, ours: FloatArray) -> float:
    """Returns the largest absolute difference of a component, row by row to save memory."""
    return max(
        float(np.abs(a.astype(np.float64) - b).max(initial=0.0))
        for a, b in zip(theirs, ours, strict=True)
    )


def largest_value(vectors: FloatArray) -> float:
    """Returns the largest absolute component, to divide by."""
    return max(float(np.abs(vectors).max()), 1e-30)


def first_rows(text_ids: list[str]) -> list[int]:
    """Returns the first row of each text that is not blank.

    In correlations, repeated texts count once, and blank ones are near to nothing.
    """
    return [text_ids.index(name) for name in dict.fromkeys(text_ids) if not is_blank_id(name)]


def summarized(
    theirs: FloatArray,
    ours: FloatArray,
    *,
    similarity: npt.NDArray[np.float64],
    rank_correlation: float,
    neighbours: Neighbours | None = None,
    text_ids: list[str],
    batch: float,
    token_mean_cosine: float | None = None,
    measure: Measure = Measure.COSINE,
) -> Fidelity:
    """Returns the figures of a comparison of outputs, (texts, n) float32, of source and graph.

    `similarity` is that of each row, (texts,); other arguments are as in Fidelity.
    """
    difference = largest_difference(theirs, ours)
    is_blank = np.array([is_blank_id(name) for name in text_ids])
    blank = float(similarity[is_blank].min()) if is_blank.any() else None
    telling = similarity[~is_blank]
    lowest: dict[str, float] = {}
    for name, cosine in zip(text_ids, similarity.tolist(), strict=True):
        if not is_blank_id(name):
            lowest[name] = min(round(cosine, 9), lowest.get(name, 1.0))
    worst = sorted(lowest.items(), key=lambda item: (item[1], item[0]))[:WORST_TEXTS]
    bins = np.searchsorted(HISTOGRAM_EDGES, 1.0 - np.array(list(lowest.values())), side="right")
    return Fidelity(
        texts=len(set(text_ids)),
        max_abs_diff=difference,
        relative_diff=difference / largest_value(theirs),
        similarity=Similarity(
            measure=measure,
            mean=float(telling.mean()),
            error=float(telling.std() / np.sqrt(len(telling))),
            p1=float(np.percentile(telling, 1)),
            min=float(telling.min()),
            batch=batch,
        ),
        rank_correlation=rank_correlation,
        neighbours=neighbours,
        blank_similarity=blank,
        token_mean_cosine=token_mean_cosine,
        worst_texts=tuple(WorstText(text=name, similarity=cosine) for name, cosine in worst),
        histogram=tuple(np.bincount(bins, minlength=len(HISTOGRAM_EDGES) + 1).tolist()),
    )


def token_cosines(
    a: Sequence[FloatArray], b: Sequence[FloatArray]
) -> tuple[npt.NDArray[np.float64], float]:
    """Compares token vectors, (tokens, dim) float32 for each text; only scored tokens.

    Returns the mean of each text, (texts,), which is 1 without such tokens; and a token's lowest.
    """
    of_texts = [cosines(x, y) if len(x) else np.ones(1) for x, y in zip(a, b, strict=True)]
    means = np.array([values.mean() for values in of_texts])
    return means, min(float(values.min()) for values in of_texts)


def check_comparable(theirs: FloatArray, ours: FloatArray, what: str, text_ids: list[str]) -> None:
    """Raises ValueError for different shapes or values that are not finite."""
    if theirs.shape != ours.shape:
        raise ValueError(f"{what} has shape {ours.shape}, but that of the source is {theirs.shape}")
    if not np.isfinite(theirs).all():
        raise ValueError(f"{what} of the source model has values that are not finite")
    finite = np.isfinite(ours).all(axis=1)
    if not finite.all():
        bad = text_ids[int((~finite).argmax())]
        raise ValueError(f"{what} has values that are not finite, first for text {bad}")
