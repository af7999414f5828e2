"""The record of measured times."""

import pytest

from embconvert.models.shapes import Shape
from embconvert.speed.records import SpeedsRecord
from embconvert.speed.sessions import Times
from embconvert.speed.summary import groups_that_fit, speeds_record

QUERY, PASSAGE = Shape(texts=1, tokens=16), Shape(texts=8, tokens=128)


@pytest.mark.parametrize(
    ("memory", "groups", "left_out"),
    [
        (1000, [["float32", "half", "int8"]], []),
        (350, [["float32", "half"], ["float32", "int8"]], []),
        (300, [["float32", "int8"]], ["half"]),
        (230, [["float32"]], ["half", "int8"]),
        (10, [], ["float32", "half", "int8"]),
    ],
)
def test_graphs_are_loaded_together_as_far_as_memory_allows(
    memory: int, groups: list[list[str]], left_out: list[str]
) -> None:
    sizes = {"float32": 100, "half": 60, "int8": 40}
    assert groups_that_fit(sizes, "float32", memory) == (groups, left_out)


def test_without_float32_all_are_compared_with_none() -> None:
    assert groups_that_fit({"half": 60, "int8": 40}, None, 1000) == ([["half", "int8"]], [])


def times(*seconds: list[float], waited: float | None = None) -> Times:
    """Times of graphs for queries; eight passages take fifty times as long."""
    passages = [[50 * s for s in graph] for graph in seconds]
    return Times(seconds={PASSAGE: passages, QUERY: seconds}, left_out={}, waited=waited)


def test_speeds_are_told_by_length_and_compared_with_float32_of_the_same_rounds() -> None:
    slow_machine = times([0.02] * 5, [0.01] * 5, waited=0.01)
    quick_machine = times([0.01] * 5, [0.0025] * 5, waited=0.3)
    found = speeds_record(
        [(["float32", "half"], slow_machine), (["float32", "int8"], quick_machine)], "float32", 2
    )
    float32, half, int8 = found.graphs
    assert [speed.shape for speed in half.shapes] == [QUERY, PASSAGE]
    assert half.shapes[0].texts_per_second == pytest.approx(100)
    assert half.shapes[1].texts_per_second == pytest.approx(16)
    assert float32.speedup is None
    assert half.speedup is not None
    assert int8.speedup is not None
    # Not 8, which dividing by the other machine's float32 would give.
    assert (half.speedup.times, int8.speedup.times) == pytest.approx((2, 4))
    assert found.of("int8") is int8
    assert found.of("other") is None


def test_a_busy_machine_is_said_to_be_busy() -> None:
    def of(waited: float | None) -> SpeedsRecord:
        return speeds_record([(["float32"], times([0.1], waited=waited))], "float32", 2)

    assert "for 30% of the time" in (of(0.3).busy_words or "")
    assert of(0.01).busy_words is None
    assert of(None).busy_words is None


def test_what_could_not_be_timed_is_missing() -> None:
    nothing = Times(seconds={}, left_out={QUERY: "it does not run"}, waited=None)
    assert speeds_record([(["float32"], nothing)], "float32", 2).graphs == ()
