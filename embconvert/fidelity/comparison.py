"""How a graph's outputs are read and compared, by kind of model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import Embeddings, Fidelity
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.kinds import Kind, part_of
from embconvert.models.output_rules import OutputRules

Reader = Callable[[Mapping[str, Any], TokenizedTexts, Sequence[int]], Embeddings]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the outputs of a kind are read and compared.

    Attributes:
        read: From a graph's outputs by name, all texts and the indices of a batch, to the batch's
            Embeddings.
        compare: Like kinds.embedding.compare_embeddings.
        likeness: From the Embeddings of all texts and two lists of rows to the similarity of each
            row to its counterpart.
        adapted: From other rules of a kind's outputs to the comparison of graphs with these; None
            if the kind has none.
    """

    read: Reader
    compare: Callable[..., Fidelity]
    likeness: Callable[[Embeddings, Sequence[int], Sequence[int]], npt.NDArray[np.float64]]
    adapted: "Callable[[OutputRules], Comparison] | None" = None


def comparison_for(kind: Kind, rules: OutputRules | None = None) -> Comparison:
    """Returns the comparison of a kind's graphs, whose outputs are read by `rules`, if any."""
    usual = part_of(kind, "embconvert.fidelity.kinds", "COMPARISON", Comparison)
    if rules is None:
        return usual
    assert usual.adapted is not None
    return usual.adapted(rules)


def read_matrix(name: str) -> Reader:
    """Returns a reader of one vector per text, found by name or as the only 2D output."""

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
