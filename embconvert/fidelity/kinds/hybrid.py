"""Compares hybrid models, each output as the kind that gives such outputs; numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from embconvert.fidelity.comparison import Comparison
from embconvert.fidelity.figures import Embeddings, Fidelity
from embconvert.fidelity.kinds.embedding import COMPARISON as DENSE
from embconvert.fidelity.kinds.late_interaction import COMPARISON as LATE
from embconvert.fidelity.kinds.late_interaction import compare_tokens
from embconvert.fidelity.kinds.sparse import COMPARISON as SPARSE
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.words import as_vectors, word_weights
from embconvert.models.kinds import KINDS, Kind

_OUTPUTS = {Kind(head.kind): head.output for head in KINDS[Kind.HYBRID].heads}


def _read(values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]) -> Embeddings:
    """Finds a graph's outputs by name; others are those of an embedding model."""
    weights = values.get(_OUTPUTS[Kind.SPARSE])
    vectors = values.get(_OUTPUTS[Kind.LATE_INTERACTION])
    others = {name: v for name, v in values.items() if name not in _OUTPUTS.values()}
    found = DENSE.read(others, texts, indices)
    if weights is not None:
        # With padding, whose weight must be 0: programs do not leave it out.
        ids = texts.batch(indices, ("input_ids",))["input_ids"]
        rows = zip(ids, weights.astype(np.float32), strict=True)
        found = replace(found, words=tuple(word_weights(*row) for row in rows))
    if vectors is not None:
        counting = texts.counting(indices)
        kept = zip(vectors.astype(np.float32), counting, strict=True)
        found = replace(found, tokens=tuple(tokens[mask][1:] for tokens, mask in kept))
    return found


def compare_outputs(
    reference: Embeddings, candidate: Embeddings, *, text_ids: list[str], batch: float
) -> Fidelity:
    """Compares all outputs that the reference has, like compare_embeddings; see Fidelity.heads."""
    dense = DENSE.compare(reference, candidate, text_ids=text_ids, batch=batch)
    first = {name: row for row, name in reversed(list(enumerate(text_ids)))}
    again = [row for row, name in enumerate(text_ids) if first[name] != row]
    before = [first[text_ids[row]] for row in again]

    def of(head: Comparison, theirs: Embeddings, ours: Embeddings) -> Fidelity:
        likeness = head.likeness(ours, before, again) if again else np.ones(1)
        return head.compare(theirs, ours, text_ids=text_ids, batch=float(likeness.min()))

    heads: dict[Kind, Fidelity] = {}
    if reference.words is not None:
        if candidate.words is None:
            raise ValueError(f"the graph has no output {_OUTPUTS[Kind.SPARSE]}")
        sides = as_vectors(reference.words, candidate.words)
        theirs, ours = (Embeddings(sentence=vectors, token_mean=None) for vectors in sides)
        heads[Kind.SPARSE] = of(SPARSE, theirs, ours)
    if reference.tokens is not None:
        late = replace(LATE, compare=partial(compare_tokens, all_are_queries=True))
        heads[Kind.LATE_INTERACTION] = of(late, reference, candidate)
    return replace(dense, heads=heads)


COMPARISON = Comparison(read=_read, compare=compare_outputs, likeness=DENSE.likeness)
