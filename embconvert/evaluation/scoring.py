"""How a kind's outputs are stored and compared with each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.models.kinds import Kind, part_of

Scores = npt.NDArray[np.float32]

#: One text's output, as the cache stores it; empty for a text without tokens.
Row = bytes

#: The functions of sentence-transformers (`similarity_fn_name`) by which vectors are compared.
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How the outputs of a kind are stored and compared.

    Attributes:
        pack: From the Embeddings of some texts to one row for each.
        unpack: From rows to a block, which has a type of the kind's own.
        scores: From a block of n queries, a block of m documents and one of SIMILARITIES to the
            scores, (n, m) float32; None for a kind that scores pairs.
        pairs: From two blocks of n texts, likewise, to the score of each pair, (n,) float32; of a
            kind that scores pairs, from one block and None.
        similarity: How outputs are compared if the model does not say; None for a kind that scores
            pairs.
    """

    pack: Callable[[Embeddings], list[Row]]
    unpack: Callable[[Sequence[Row]], Any]
    scores: Callable[[Any, Any, str], Scores] | None
    pairs: Callable[[Any, Any, str], Scores]
    similarity: str | None


def scoring_for(kind: Kind) -> Scoring:
    return part_of(kind, "embconvert.evaluation.kinds", "SCORING", Scoring)


def pack_matrix(matrix: FloatArray | None) -> list[Row]:
    """Returns the rows of (texts, n) float32; raises ValueError if a value is not finite."""
    if matrix is None:
        raise ValueError("the graph has no output to evaluate")
    if not np.isfinite(matrix).all():
        raise ValueError("it computes values that are not numbers")
    return [row.tobytes() for row in np.ascontiguousarray(matrix, np.float32)]


def unpack_matrix(rows: Sequence[Row]) -> FloatArray:
    """Returns (rows, n) float32; zeros for a text without tokens."""
    width = max(map(len, rows), default=0)
    whole = b"".join(row or bytes(width) for row in rows)
    return np.frombuffer(whole, np.float32).reshape(len(rows), width // 4)
