"""How two graphs differ, text by text."""

from dataclasses import dataclass

import numpy as np

from embconvert.evaluation.scoring import scoring_for
from embconvert.fidelity.comparison import comparison_for
from embconvert.fidelity.embedding import join
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.ranking import Scores, kept_of_rows
from embconvert.models.kinds import Kind

#: Neighbours are looked for among so many texts at most: their scores are in memory.
MAX_TEXTS = 5000


@dataclass(frozen=True, kw_only=True)
class TextDifference:
    """How two graphs differ on a text.

    Attributes:
        similarity: Between the outputs; None if they have different sizes.
        kept: Share of its nearest neighbours by the first graph that are so by the second, too;
            None for pairs, and among fewer than three texts.
        scores: Of a pair, by both graphs; None for others.
    """

    text: int
    similarity: float | None
    kept: float | None
    scores: tuple[float, float] | None


def differences(
    kind: Kind, first: Embeddings, second: Embeddings, how: str | None
) -> list[TextDifference]:
    """Returns the differences of two graphs' outputs for the same texts, the largest first.

    `how` outputs are compared for neighbours is one of scoring.SIMILARITIES, or None for scores.
    """
    scoring = scoring_for(kind)
    blocks = [scoring.unpack(scoring.pack(found)) for found in (first, second)]
    similarity = _similarity(kind, first, second)
    kept = scores = None
    if scoring.scores is None:
        scores = [scoring.pairs(block, None, "") for block in blocks]
    else:
        before, after = (
            scoring.scores(block, block, how or "").astype(np.float64) for block in blocks
        )
        kept = kept_of_rows(before, after, range(len(before)))
    found = [
        TextDifference(
            text=text,
            similarity=None if similarity is None else float(similarity[text]),
            kept=None if kept is None else float(kept[text]),
            scores=None if scores is None else (float(scores[0][text]), float(scores[1][text])),
        )
        for text in range(_texts(first))
    ]
    return sorted(found, key=_order)


def _order(difference: TextDifference) -> tuple[float, float, int]:
    return (
        1.0 if difference.similarity is None else difference.similarity,
        1.0 if difference.kept is None else difference.kept,
        difference.text,
    )


def _similarity(kind: Kind, first: Embeddings, second: Embeddings) -> Scores | None:
    if _sizes(first) != _sizes(second):
        return None
    texts = range(_texts(first))
    both = join([first, second])
    found: Scores = comparison_for(kind).likeness(
        both, list(texts), [text + len(texts) for text in texts]
    )
    return found


def _sizes(embeddings: Embeddings) -> object:
    if embeddings.tokens is not None:
        return [tokens.shape for tokens in embeddings.tokens]
    found = embeddings.sentence if embeddings.sentence is not None else embeddings.token_mean
    return None if found is None else found.shape[1]


def _texts(embeddings: Embeddings) -> int:
    rows = embeddings.sentence if embeddings.sentence is not None else embeddings.token_mean
    return len(embeddings.tokens or () if rows is None else rows)
