"""Which texts are embedded together, and how many of them."""

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.fidelity.texts import Query, is_query_id, verification_items, verification_texts
from embconvert.fidelity.workload import make_workload, workload_for
from embconvert.models.kinds import Reading


@given(st.lists(st.integers(1, 600), min_size=1, max_size=300))
def test_a_workload_embeds_some_texts_alone_and_in_a_mixed_batch(lengths: list[int]) -> None:
    workload = make_workload(lengths)
    mixed = [lengths[i] for i in workload.mixed]
    assert min(mixed) == min(lengths)
    assert sorted(index for group in workload.similar for index in group) == [*range(len(lengths))]
    assert workload.size == len(lengths) + len(mixed) + len(workload.alone)
    assert workload.mixed in workload.groups
    assert all((index,) in workload.groups for index in workload.mixed)


@given(st.lists(st.integers(1, 600), min_size=1), st.sampled_from([0.0, 1e12]))
def test_no_text_is_embedded_alone_twice(lengths: list[int], flop_per_token: float) -> None:
    workload = make_workload(lengths, flop_per_token)
    others = list(workload.groups)
    others.remove(workload.mixed)
    assert len(others) == len(set(others))


@given(st.lists(st.integers(1, 600), min_size=20, max_size=60))
def test_a_large_model_is_compared_on_a_sample_of_all_lengths(lengths: list[int]) -> None:
    """Here a token costs so much that 16 texts, or few tokens, are all that may be."""
    workload = make_workload(lengths, flop_per_token=1e12)
    chosen = [index for group in workload.similar for index in group]
    assert len(chosen) == len(set(chosen)) == workload.texts
    assert 1 <= workload.texts <= 16 or sum(lengths[i] for i in chosen) <= 320
    assert {(index,) for index in workload.mixed} <= set(workload.similar)
    assert min(lengths[i] for i in chosen) == min(lengths)


def test_most_texts_of_a_sample_are_short_and_a_long_one_is_among_them() -> None:
    lengths = list(range(1, 201))
    workload = make_workload(lengths, flop_per_token=4e8)
    chosen = sorted(lengths[index] for group in workload.similar for index in group)
    assert chosen[len(chosen) // 2] < max(chosen) / 2
    assert max(chosen) > 100


def test_a_small_model_is_compared_on_a_sample_and_on_the_rest_if_need_be() -> None:
    lengths = [2 + n % 120 for n in range(288)]
    tokens = sum(lengths)
    for flop, kind in ((1e10, "complete"), (2e11, "sample"), (7e11, "large")):
        workload = make_workload(lengths, flop_per_token=flop / tokens)
        chosen = sorted(i for group in workload.similar for i in group)
        others = sorted(i for group in workload.rest for i in group)
        assert sum(lengths[i] for i in chosen) < 2100 or kind != "sample"
        assert (len(chosen) == len(lengths)) == (kind == "complete")
        assert bool(others) == (kind == "sample")
        if others:
            assert sorted([*chosen, *others]) == [*range(len(lengths))]


def test_the_longest_text_is_in_the_sample_of_a_small_model() -> None:
    """Only it has the last positions."""
    lengths = [*([20] * 250), 300, 400, 500, 512]
    workload = make_workload(lengths, flop_per_token=2e7)
    assert workload.rest
    assert workload.similar[0] == (len(lengths) - 1,)
    run = [i for group in (*workload.similar, *workload.rest) for i in group]
    assert sorted(run) == [*range(len(lengths))]


# No lengths that ten texts in one batch would take it over its limit of tokens.
@given(st.lists(st.integers(1, 50), min_size=2, max_size=10))
def test_no_batches_of_a_sample_cost_less(lengths: list[int]) -> None:
    """Each costs what ten more tokens would; texts that are mixed as well are not in one."""
    workload = make_workload(lengths, flop_per_token=1e12)
    groups = [group for group in workload.similar if not set(group) <= set(workload.mixed)]
    chosen = sorted(lengths[index] for group in groups for index in group)

    def cost(groups: Iterable[Sequence[int]]) -> int:
        return sum(10 + len(group) * max(group) for group in groups)

    def cut(places: Sequence[int]) -> list[list[int]]:
        return [chosen[a:b] for a, b in itertools.pairwise([0, *places, len(chosen)])]

    inner = range(1, len(chosen))
    ways = (way for n in range(len(chosen)) for way in itertools.combinations(inner, n))
    ours = cost([lengths[index] for index in group] for group in groups)
    assert ours == min((cost(cut(way)) for way in ways), default=0)


def test_the_sample_is_as_large_as_its_cost_allows() -> None:
    lengths = [1 + n % 60 for n in range(288)]
    sizes = [make_workload(lengths, flop).texts for flop in (1e6, 1e9, 2e9, 1e10)]
    assert sizes[0] == 288
    assert sizes == sorted(sizes, reverse=True)
    assert 16 <= sizes[-1] < 20


@pytest.mark.parametrize("vocabulary", [30_522, 250_002])
def test_a_batch_of_numbers_for_each_word_is_bounded(vocabulary: int) -> None:
    lengths = [3, 8, 20, 60, 90, 130, 512] * 40
    workload = make_workload(lengths, wide_values=vocabulary)
    for group in workload.groups:
        widest = len(group) * max(lengths[i] for i in group) * vocabulary * 4
        assert len(group) == 1 or widest <= 1 << 27
    assert workload.texts == len(lengths)
    assert max(len(g) for g in make_workload(lengths).groups) == 32


def test_queries_are_batched_by_themselves() -> None:
    items = verification_items(Reading.QUERY_OR_DOCUMENT)
    texts = verification_texts()
    assert items.items[: len(texts.texts)] == texts.texts
    queries = items.items[len(texts.texts) :]
    assert len(queries) >= 40
    assert all(isinstance(query, Query) for query in queries)
    assert [is_query_id(name) for name in items.ids].count(True) == len(queries)
    lengths = [max(1, len(str(item)) // 4) for item in items.items]
    for flop in (0.0, 2e7, 1e12):  # all of them, a sample, and few
        workload = workload_for(items.items, lengths, flop, 0)
        for group in workload.groups:
            assert len({isinstance(items.items[i], Query) for i in group}) == 1
        assert any(isinstance(items.items[g[0]], Query) for g in workload.similar)
        run = [i for group in (*workload.similar, *workload.rest) for i in group]
        assert len(set(run)) == len(run)
        assert len(run) == len(lengths) or flop == 1e12


def test_a_split_workload_has_batches_of_one_key() -> None:
    workload = make_workload([5, 9, 5, 40, 6, 7, 300, 8] * 6)
    keys = ["", "q"] * 24
    split = workload.split(keys)
    assert sorted(i for group in split.similar for i in group) == list(range(48))
    assert all(len({keys[i] for i in group}) == 1 for group in split.groups)
    assert len(split.mixed) >= len(workload.mixed) / 2
