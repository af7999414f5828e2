"""A loss is told from noise."""

import numpy as np

from embconvert.evaluation.data import DataForm, Pairs
from embconvert.evaluation.figures import Figure, pair_figures
from embconvert.evaluation.intervals import loss_of


def means(values: np.ndarray) -> Figure:
    return Figure(name="nDCG@10", samples=[values])


def test_a_loss_of_every_query_is_told() -> None:
    rng = np.random.default_rng(1)
    before = rng.random(300)
    loss = loss_of(means(before - rng.normal(0.01, 0.01, 300)), means(before))
    assert 0.8 < loss.points < 1.2
    assert 0 < loss.low < loss.points < loss.high
    assert loss.verdict == f"{loss.points:.1f} points lower"


def test_a_gain_is_told_and_a_small_one_has_its_digits() -> None:
    before = np.random.default_rng(1).random(300)
    loss = loss_of(means(before + 0.0005), means(before))
    assert loss.verdict == "0.05 points higher"
    loss = loss_of(means(before - 0.00001), means(before))
    assert loss.verdict == "less than 0.01 points lower"


def test_what_goes_up_and_down_is_noise() -> None:
    rng = np.random.default_rng(1)
    before = rng.random(300)
    loss = loss_of(means(before + rng.normal(0, 0.1, 300)), means(before))
    assert loss.low < 0 < loss.high
    assert loss.verdict == "within noise"


def test_equal_samples_are_the_same() -> None:
    before = np.random.default_rng(1).random(300)
    loss = loss_of(means(before.copy()), means(before))
    assert (loss.points, loss.low, loss.high, loss.verdict) == (0, 0, 0, "the same")


def test_a_few_queries_tell_nothing() -> None:
    loss = loss_of(means(np.full(19, 0.5)), means(np.full(19, 0.9)))
    assert loss.verdict == "too few to tell (19)"
    assert loss_of(means(np.array([0.5])), means(np.array([0.9]))).verdict.startswith("too few")


def test_an_interval_is_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.random(300), rng.random(300)
    assert loss_of(means(after), means(before)) == loss_of(means(after), means(before))


def test_a_correlation_has_an_interval_of_pairs() -> None:
    rng = np.random.default_rng(1)
    gold = rng.random(200)
    numbers = np.arange(200)
    pairs = Pairs(first=numbers, second=numbers, gold=gold)
    good, worse = gold + rng.normal(0, 0.1, 200), gold + rng.normal(0, 0.4, 200)
    before, after = (
        pair_figures(DataForm.SCORED_PAIRS, pairs, scores)[0] for scores in (good, worse)
    )
    loss = loss_of(after, before)
    assert 0 < loss.low < loss.points < loss.high
    assert loss.verdict.endswith("points lower")
