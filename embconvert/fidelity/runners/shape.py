"""Runs graphs of a fixed shape: texts are padded to its tokens, and batches to its texts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from embconvert.fidelity.runners import How, OutputArrays, Session
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.forms import FileForm


def _padded(texts: TokenizedTexts, form: FileForm) -> TokenizedTexts:
    assert form.shape is not None
    padding = replace(texts.padding, fixed_length=form.shape.tokens, multiple_of=1)
    return replace(texts, padding=padding)


def _run(
    session: Session, texts: TokenizedTexts, indices: Sequence[int], form: FileForm
) -> OutputArrays:
    """Runs as many texts at a time as the shape has; the last text fills a batch up.

    Raises ValueError if a text has more tokens than the shape.
    """
    assert form.shape is not None
    if any(texts.lengths[index] > form.shape.tokens for index in indices):
        raise ValueError(f"a text has more than {form.shape.tokens} tokens")
    parts: list[OutputArrays] = []
    for start in range(0, len(indices), form.shape.texts):
        some = list(indices[start : start + form.shape.texts])
        full = some + some[-1:] * (form.shape.texts - len(some))
        made = session.run(texts.batch(full, session.inputs))
        parts.append({name: value[: len(some)] for name, value in made.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


HOW = How(as_read=_padded, run=_run)
