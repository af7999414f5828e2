"""Whether a comparison on a sample of the texts settles that on all of them.

It does if each figure is so far from its floor that the other texts would not change the verdict,
whichever it is.
"""

from collections.abc import Iterator

import numpy as np

from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor
from embconvert.fidelity.texts import is_blank_id, verification_texts

# Standard errors between a mean and its floor.
_ERRORS = 4.0
# How many times more than in the sample may be lost in other texts, where a figure is the lowest of
# a text or a correlation.
_MARGIN = 2.0


def is_complete(fidelity: Fidelity) -> bool:
    """Whether all texts were compared that have tokens; those without are blank."""
    blank = sum(map(is_blank_id, verification_texts().ids))
    least = len(verification_texts().ids) - blank
    return not fidelity.rest and fidelity.texts + fidelity.left_out >= least


def unsettled(fidelity: Fidelity, floor: Floor) -> str | None:
    """Returns the first figure whose verdict other texts could change, in words, or None."""
    for kind, figures in fidelity.of_outputs.items():
        of_output = floor if kind is None else floor.of_head(figures)
        for name, is_settled in _figures(figures, of_output):
            if not is_settled:
                return name if kind is None else f"{name} of the {kind} head"
    return None


def _figures(figures: Fidelity, floor: Floor) -> Iterator[tuple[str, bool]]:
    near = figures.similarity
    yield f"mean {near.measure}", abs(near.mean - floor.mean_cosine) > _ERRORS * near.error
    for name, lowest, least in (
        (f"lowest {near.measure}", near.min, floor.min_cosine),
        (f"{near.measure} of a blank text", figures.blank_similarity, floor.min_cosine),
        ("lowest cosine of output 0", figures.token_mean_cosine, floor.min_cosine),
        ("lowest cosine of a token", figures.lowest_token_cosine, floor.token_cosine),
    ):
        # A text below the floor is below it whatever other texts give.
        if lowest is not None and lowest >= least:
            yield name, _MARGIN * (1 - lowest) <= 1 - least
    if figures.relative_diff <= floor.relative_diff:
        yield "largest difference", _MARGIN * figures.relative_diff <= floor.relative_diff
    lost, may_be_lost = 1 - figures.rank_correlation, 1 - floor.rank_correlation
    yield ("rank correlation", _MARGIN * lost <= may_be_lost or lost >= _MARGIN * may_be_lost)
    kept = figures.neighbours
    # Rounding moves no neighbours, however few of them a small sample has.
    if kept is not None and floor.neighbours > 0 and not (figures.is_same and kept.kept == 1):
        share = floor.neighbours
        error = float(np.sqrt(share * (1 - share) / (kept.texts * kept.of)))
        # Among more texts, neighbours lie closer together, and more of them may be lost.
        is_clear = kept.kept < share or _MARGIN * (1 - kept.kept) <= 1 - share
        yield "share of kept neighbours", is_clear and abs(kept.kept - share) > _ERRORS * error
