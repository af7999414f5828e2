"""The texts and batches on which a model is compared."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embconvert.fidelity.texts import Item, Query, batches

#: FLOP per token with which no comparison costs too much, so that all texts are compared.
ALL_TEXTS = 0.0
# The cost of a comparison: all texts up to the first limit (0.2 s on two cores). Up to the second,
# which is that of 12 layers of width 384 (E5 small), a sample of about so many tokens, and all
# texts if that does not settle it; above, a sample of about the third. Up to the
# second, the longest text comes on top: no other has all positions.
_COMPLETE_FLOP = 3e10
_COMPLETABLE_FLOP = 6e11
_SAMPLE_FLOP = 3.2e11
_SAMPLE_TOKENS = 2000
# The constant cost of a batch, in tokens, for reading a large model's weights from memory (0.07 s
# on two cores, and 0.007 s per token, for 440 million weights).
_BATCH_COST = 10
_SMALLEST_SAMPLE = 16
_FEWEST_TOKENS = 320
_SHORT_TEXT = 24

# Number of texts that are repeated in a mixed batch and alone, and their maximum length; padded to
# a longer one, they would cost as much as all others.
_MIXED_BATCH = 12
_MIXED_TOKENS = 96

# Maximum tokens per batch, including padding; a longer text is alone. More would take more memory
# without saving time.
_BATCH_TOKENS = 512

#: Maximum size of vocabulary logits of a batch; about three such values exist at a time.
WIDEST_BYTES = 1 << 27


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The batches that are run with the source and every graph.

    Both get the same padding, because the vectors of some models (convbert, mobilebert) depend on
    it.

    Attributes:
        similar: Batches of texts of similar length, or of one text; each text is in one.
        mixed: Texts of all lengths that are repeated in one batch, and alone if they are not
            already.
        rest: Batches of the other texts, which are run only if these do not settle a comparison;
            empty if it is complete, or all texts would cost too much.
    """

    similar: tuple[tuple[int, ...], ...]
    mixed: tuple[int, ...]
    rest: tuple[tuple[int, ...], ...] = ()

    @property
    def alone(self) -> tuple[int, ...]:
        """Texts of the mixed batch that are repeated alone."""
        return tuple(index for index in self.mixed if (index,) not in self.similar)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """All batches: similar ones, the mixed one, and those of one text."""
        return (*self.similar, self.mixed, *((index,) for index in self.alone))

    @property
    def texts(self) -> int:
        """Number of different texts."""
        return sum(map(len, self.similar))

    @property
    def size(self) -> int:
        """Number of texts, including repetitions."""
        return sum(map(len, self.groups))

    def only(self, texts: Collection[int]) -> "Workload":
        """Returns the workload of some texts; raises ValueError if it has none of them."""
        kept = (tuple(i for i in group if i in texts) for group in self.similar)
        similar = tuple(filter(None, kept))
        if not similar:
            raise ValueError("no text is left to run")
        mixed = tuple(index for index in self.mixed if index in texts)
        rest = (tuple(i for i in group if i in texts) for group in self.rest)
        return Workload(
            similar=similar, mixed=mixed or similar[0][:1], rest=tuple(filter(None, rest))
        )

    def split(self, keys: Sequence[str]) -> "Workload":
        """Returns the workload with batches of texts of one key each, given the keys of all."""
        split = tuple(
            tuple(index for index in group if keys[index] == key)
            for group in self.similar
            for key in dict.fromkeys(keys[index] for index in group)
        )
        of_mixed = [keys[index] for index in self.mixed]
        frequent = max(of_mixed, key=of_mixed.count)
        mixed = tuple(index for index in self.mixed if keys[index] == frequent)
        return replace(self, similar=split, mixed=mixed)


def make_workload(
    lengths: Sequence[int], flop_per_token: float = ALL_TEXTS, wide_values: int = 0
) -> Workload:
    """Makes batches of all texts, or for a large model of a sample of all lengths.

    Each text has a token or more. `wide_values` are float32 values per token that limit the batch
    size; 0 if they do not.
    """
    by_length = sorted(range(len(lengths)), key=lambda i: lengths[i])
    most, shortest = _BATCH_TOKENS, _MIXED_TOKENS
    if wide_values:
        most = min(most, WIDEST_BYTES // (4 * wide_values))
        shortest = min(shortest, most // _MIXED_BATCH)
    mixable = [i for i in by_length if lengths[i] <= shortest] or by_length[:1]
    complete = Workload(
        similar=_batches_of(range(len(lengths)), lengths, most),
        mixed=tuple(_evenly(mixable, _MIXED_BATCH)),
    )
    cost = _padded_tokens(complete, lengths) * flop_per_token
    if cost <= _COMPLETE_FLOP:
        return complete
    is_completable = cost <= _COMPLETABLE_FLOP
    tokens = max(_SAMPLE_FLOP / flop_per_token, _FEWEST_TOKENS)
    if is_completable:
        tokens = min(tokens, _SAMPLE_TOKENS)
    usable = [i for i in by_length if lengths[i] <= max(tokens / 6, 2 * _SHORT_TEXT)]
    usable = usable or by_length[:_SMALLEST_SAMPLE]

    def sample_of(count: int) -> Workload:
        return _sample(_short_ones_rather(usable, lengths, count), lengths, most)

    def is_too_large(count: int) -> bool:
        sample = sample_of(count)
        return sample.texts > _SMALLEST_SAMPLE and _padded_tokens(sample, lengths) > tokens

    # The index of the first count that is too large equals the largest count that fits.
    sample = sample_of(bisect_left(range(1, 2 * len(usable)), True, key=is_too_large))
    if not is_completable:
        return sample
    longest = (by_length[-1],)
    if longest not in sample.similar and by_length[-1] not in usable:
        sample = replace(sample, similar=(longest, *sample.similar))
    chosen = {index for group in sample.similar for index in group}
    others = [index for index in by_length if index not in chosen]
    return replace(sample, rest=_batches_of(others, lengths, most))


def workload_for(
    items: Sequence[Item], lengths: Sequence[int], flop_per_token: float, wide_values: int
) -> Workload:
    """Makes batches of inputs, documents before queries, with queries in separate batches."""
    documents = sum(not isinstance(item, Query) for item in items)
    workload = make_workload(lengths[:documents], flop_per_token, wide_values)
    queries = range(documents, len(items))
    share = workload.texts / documents  # if the documents are sampled, so are the queries
    chosen = _evenly(queries, max(_MIXED_BATCH, round(share * len(queries))))
    others = [index for index in queries if index not in chosen] if workload.rest else []
    return replace(
        workload,
        similar=(*workload.similar, *_batches_of(chosen, lengths)),
        rest=(*workload.rest, *_batches_of(others, lengths)),
    )


def _batches_of(
    indices: Sequence[int], lengths: Sequence[int], most: int = 2048
) -> tuple[tuple[int, ...], ...]:
    """Groups texts of similar length; a batch has at most so many tokens, including padding."""
    groups = batches([lengths[i] for i in indices], tokens=most)
    return tuple(tuple(indices[i] for i in group) for group in groups)


def _sample(chosen: Sequence[int], lengths: Sequence[int], tokens: int) -> Workload:
    """Makes batches of some texts, sorted by length; those of the mixed batch are otherwise alone.

    A batch has at most so many tokens, including padding.
    """
    # Texts of mixed batches are embedded twice, so only short ones are used.
    short = [i for i in chosen if lengths[i] <= _SHORT_TEXT] or chosen[:1]
    mixed = _evenly(short, 3)
    others = [i for i in chosen if i not in mixed]
    groups = _cheapest_batches([lengths[i] for i in others], tokens)
    similar = [tuple(others[i] for i in group) for group in groups]
    return Workload(similar=(*similar, *((index,) for index in mixed)), mixed=tuple(mixed))


def _cheapest_batches(lengths: Sequence[int], tokens: int) -> list[range]:
    """Groups neighbours of ascending length, so that batches and padded tokens cost least.

    A text with more than `tokens`, the maximum of a batch with padding, is alone. Returns indices
    of texts, ascending in each batch; the batch of the longest texts is first.
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
    """Returns at most `count` evenly spaced items, including the first and the last."""
    count = min(count, len(items))
    return [items[round(n * (len(items) - 1) / max(1, count - 1))] for n in range(count)]


def _short_ones_rather(items: Sequence[int], lengths: Sequence[int], count: int) -> list[int]:
    """Returns up to so many texts of all lengths, sorted by length, mostly short ones.

    The frequency is inversely proportional to the square root of the length. The longest and the
    shortest are included.
    """
    places = np.cumsum([lengths[i] ** -0.5 for i in items])
    chosen = np.searchsorted(places, np.linspace(places[0], places[-1], count))
    return [items[i] for i in dict.fromkeys(chosen.tolist())]


def _padded_tokens(workload: Workload, lengths: Sequence[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) for group in workload.groups)
