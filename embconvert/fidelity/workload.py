"""Which texts a model is compared on, and in which batches."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embconvert.fidelity.texts import Item, Query, batches

# What the comparison of one graph may cost: all texts up to the first figure, as for 12 layers of
# width 384 (E5 small), some five seconds on two cores; else a sample for about the second.
_COMPLETE_FLOP = 6e11
_SAMPLE_FLOP = 3.2e11
# What each batch of a sample costs beside its tokens, in tokens: a large model's weights come from
# memory once more (0.07 s on two cores, a token 0.007 s, for 440 million weights that multiply).
_BATCH_COST = 10
_SMALLEST_SAMPLE = 16
_FEWEST_TOKENS = 320
_SHORT_TEXT = 24

# So many texts of all lengths up to this one are embedded once more in one mixed batch, and alone;
# padded to a longer one they would cost as much as all others.
_MIXED_BATCH = 12
_MIXED_TOKENS = 96

# The most tokens of a batch, padding included; a longer text is alone. More take more memory, and
# no less time.
_BATCH_TOKENS = 512

# The most that a batch's widest value may be, where that is one of numbers for each word of a
# vocabulary; there are about three of them at a time.
_WIDEST_BYTES = 1 << 27


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The batches that the source and every graph embed.

    Both see the same padding: some models (convbert, mobilebert) read it, so that their vectors
    depend on it in torch already.

    Attributes:
        similar: Batches of texts of similar length, or of one text; each text is in one.
        mixed: Some texts of all lengths, which are embedded again in one batch, and alone where
            they are not so already.
    """

    similar: tuple[tuple[int, ...], ...]
    mixed: tuple[int, ...]

    @property
    def alone(self) -> tuple[int, ...]:
        """Texts of the mixed batch that are embedded once more by themselves."""
        return tuple(index for index in self.mixed if (index,) not in self.similar)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Every batch: the similar ones, the mixed one, those of one text."""
        return (*self.similar, self.mixed, *((index,) for index in self.alone))

    @property
    def texts(self) -> int:
        """Different texts."""
        return sum(map(len, self.similar))

    @property
    def size(self) -> int:
        """Texts to embed, those that come again included."""
        return sum(map(len, self.groups))


def make_workload(
    lengths: Sequence[int], flop_per_token: float = 0.0, wide_values: int = 0
) -> Workload:
    """Lays out the batches: of all texts, or for a large model of a sample of all lengths.

    Args:
        lengths: Tokens of each text; none may be empty.
        flop_per_token: That one token costs in the model.
        wide_values: Float32 numbers for each token that bound a batch; 0 for no bound but the
            usual one.
    """
    by_length = sorted(range(len(lengths)), key=lambda i: lengths[i])
    most, shortest = _BATCH_TOKENS, _MIXED_TOKENS
    if wide_values:
        most = min(most, _WIDEST_BYTES // (4 * wide_values))
        shortest = min(shortest, most // _MIXED_BATCH)
    mixable = [i for i in by_length if lengths[i] <= shortest] or by_length[:1]
    complete = Workload(
        similar=tuple(tuple(group) for group in batches(lengths, tokens=most)),
        mixed=tuple(_evenly(mixable, _MIXED_BATCH)),
    )
    if _padded_tokens(complete, lengths) * flop_per_token <= _COMPLETE_FLOP:
        return complete
    tokens = max(_SAMPLE_FLOP / flop_per_token, _FEWEST_TOKENS)
    usable = [i for i in by_length if lengths[i] <= max(tokens / 6, 2 * _SHORT_TEXT)]
    usable = usable or by_length[:_SMALLEST_SAMPLE]

    def sample_of(count: int) -> Workload:
        return _sample(_short_ones_rather(usable, lengths, count), lengths, most)

    def is_too_large(count: int) -> bool:
        sample = sample_of(count)
        return sample.texts > _SMALLEST_SAMPLE and _padded_tokens(sample, lengths) > tokens

    # The place of the first that is too large, among counts from 1, is the largest that fits.
    return sample_of(bisect_left(range(1, 2 * len(usable)), True, key=is_too_large))


def workload_for(
    items: Sequence[Item], lengths: Sequence[int], flop_per_token: float, wide_values: int
) -> Workload:
    """Lays out the batches of what a model reads: queries, where there are some, by themselves.

    Args:
        items: Documents come before queries.
        lengths: Tokens of each.
        flop_per_token: As of make_workload.
        wide_values: Likewise.
    """
    documents = sum(not isinstance(item, Query) for item in items)
    workload = make_workload(lengths[:documents], flop_per_token, wide_values)
    queries = range(documents, len(items))
    share = workload.texts / documents  # of a sample of the documents, a sample of the queries
    chosen = _evenly(queries, max(_MIXED_BATCH, round(share * len(queries))))
    groups = batches([lengths[i] for i in chosen])
    return replace(
        workload, similar=(*workload.similar, *(tuple(chosen[i] for i in g) for g in groups))
    )


def _sample(chosen: Sequence[int], lengths: Sequence[int], tokens: int) -> Workload:
    """Lays out the batches of some texts; those that are mixed as well stand alone otherwise.

    Args:
        chosen: The texts, by length.
        lengths: Of all texts.
        tokens: The most of a batch, padding included.
    """
    # What is mixed comes twice; that no long text shall.
    short = [i for i in chosen if lengths[i] <= _SHORT_TEXT] or chosen[:1]
    mixed = _evenly(short, 3)
    others = [i for i in chosen if i not in mixed]
    groups = _cheapest_batches([lengths[i] for i in others], tokens)
    similar = [tuple(others[i] for i in group) for group in groups]
    return Workload(similar=(*similar, *((index,) for index in mixed)), mixed=tuple(mixed))


def _cheapest_batches(lengths: Sequence[int], tokens: int) -> list[range]:
    """Groups neighbours so that batches, and their tokens with padding, cost least.

    Args:
        lengths: In ascending order.
        tokens: The most of a batch, padding included; a longer text is alone.

    Returns:
        Indices of texts, the longest last in each batch; the batch of the longest first.
    """
    costs, starts = [0], [0]
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        fitting = range(max(0, end - max(1, tokens // longest)), end)
        cost, start = min((costs[n] + _BATCH_COST + (end - n) * longest, n) for n in fitting)
        costs.append(cost)
        starts.append(start)
    groups = []
    end = len(lengths)
    while end:
        groups.append(range(starts[end], end))
        end = starts[end]
    return groups


def _evenly(items: Sequence[int], count: int) -> list[int]:
    """Returns so many of the items, or all, the first and the last among them."""
    count = min(count, len(items))
    return [items[round(n * (len(items) - 1) / max(1, count - 1))] for n in range(count)]


def _short_ones_rather(items: Sequence[int], lengths: Sequence[int], count: int) -> list[int]:
    """Returns up to so many texts of all lengths, most of them short: so there are more of them.

    How often a length is chosen falls with its square root.

    Args:
        items: By length.
        lengths: Of all texts.
        count: The longest and the shortest are among them.
    """
    places = np.cumsum([lengths[i] ** -0.5 for i in items])
    chosen = np.searchsorted(places, np.linspace(places[0], places[-1], count))
    return [items[i] for i in dict.fromkeys(chosen.tolist())]


def _padded_tokens(workload: Workload, lengths: Sequence[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) for group in workload.groups)
