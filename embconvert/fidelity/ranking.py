"""Whether texts stay in order: rank correlation and nearest neighbours.

With numpy only: importing scipy.stats would take 0.6 s of each conversion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embconvert.models.constraints import Positive, Record, Share

Scores = npt.NDArray[np.float64]

#: Nearest neighbours of a text that are compared, as on a page of search results.
NEIGHBOURS = 10
# Of fewer than 40 texts, ten neighbours would be most of them, whatever the model.
_LARGEST_SHARE = 4
# Scores that differ by less, relative to the largest one, differ only by float32 rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Neighbours(Record):
    """How many of the texts' nearest neighbours stay.

    Attributes:
        kept: Share of the nearest neighbours that are among the source's, too.
        of: Number of neighbours of a text.
        texts: Number of texts whose neighbours were compared.
    """

    kept: Share
    of: Positive
    texts: Positive

    def is_below(self, share: float) -> bool:
        """Whether fewer stay than this share, by more than twice the sampling error of so few."""
        error = float(np.sqrt(max(share * (1 - share), 0.0) / (self.texts * self.of)))
        return self.kept < share - 2 * error


def rank_correlation(theirs: Scores, ours: Scores) -> float:
    """Returns Spearman's rank correlation of two (n,) arrays, of the source and of the graph.

    It is 1 if there are fewer than two, or if the source's differ only by rounding: there is no
    order to keep.
    """
    if len(theirs) < 2 or np.ptp(theirs) <= _ROUNDING * np.abs(theirs).max():
        return 1.0
    return spearman(theirs, ours)


def kept_neighbours(theirs: Scores, ours: Scores, own: Sequence[int | None]) -> Neighbours | None:
    """Compares the columns with the highest scores of each row, (n, m).

    A neighbour whose score in the source equals that of the last one, except for rounding, counts
    as kept. `own` is the column of each row's own text, which is no neighbour; None if it has none.
    Returns None if there are fewer than two other texts.
    """
    kept = kept_of_rows(theirs, ours, own)
    if kept is None:
        return None
    return Neighbours(kept=float(kept.mean()), of=_count(theirs), texts=len(kept))


def _count(scores: Scores) -> int:
    """Returns how many neighbours of a row are compared."""
    return min(NEIGHBOURS, (scores.shape[1] - 1) // _LARGEST_SHARE or 1)


def kept_of_rows(theirs: Scores, ours: Scores, own: Sequence[int | None]) -> Scores | None:
    """Returns the share of each row's neighbours that stay, (n,); as kept_neighbours()."""
    rows, columns = theirs.shape
    if not rows or columns < 3:
        return None
    count = _count(theirs)
    last = _ROUNDING * np.abs(theirs).max()
    theirs, ours = theirs.copy(), ours.copy()
    for row, column in enumerate(own):
        if column is not None:
            theirs[row, column] = ours[row, column] = -np.inf
    least = np.partition(theirs, -count, axis=1)[:, -count] - last
    nearest = np.argpartition(-ours, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(theirs, nearest, axis=1) >= least[:, None]
    shares: Scores = kept.mean(axis=1)
    return shares


def _ranks(values: Scores) -> Scores:
    """Returns ranks, (n,) float64; ties get their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Scores = (last - (counts - 1) / 2)[inverse]
    return ranks


def spearman(a: Scores, b: Scores) -> float:
    """Returns Spearman's rank correlation of two (n,) arrays; 1 if both are constant, as are ranks.

    Otherwise it is that of scipy.stats.spearmanr.
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    if scale == 0:
        return float(np.array_equal(x, y))
    return float(x @ y / scale)
