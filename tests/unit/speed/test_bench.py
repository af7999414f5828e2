"""Which file is best for one query, and which for bulk."""

from collections.abc import Sequence

import pytest

from embconvert.models.shapes import Shape
from embconvert.speed.bench import Measured, best_files
from embconvert.speed.bench_records import in_threads
from embconvert.speed.sessions import Times

QUERY, PASSAGE, BULK = (Shape(texts=n, tokens=m) for n, m in ((1, 16), (1, 128), (32, 128)))
SIZES = {"float32": 100, "half": 50, "int8": 25}


def measured(
    seconds: dict[Shape, Sequence[Sequence[float]]], threads: int = 2, base: str | None = "float32"
) -> Measured:
    times = Times(seconds=seconds, left_out={}, waited=None)
    return Measured(
        provider="CPUExecutionProvider", threads=threads, paths=list(SIZES), base=base, times=times
    )


def constant(*seconds: float) -> list[list[float]]:
    return [[s] * 8 for s in seconds]


def best(*found: Measured) -> dict[str, tuple[str, int]]:
    return {b.use: (b.path, b.latency.threads) for b in best_files(found, SIZES)}


def test_one_query_and_bulk_may_have_different_files_and_threads() -> None:
    one = measured({QUERY: constant(0.010, 0.009, 0.004), BULK: constant(4, 3, 9)}, threads=1)
    two = measured({QUERY: constant(0.011, 0.010, 0.005), BULK: constant(2, 1, 5)}, threads=2)
    assert best(one, two) == {"one query": ("int8", 1), "bulk": ("half", 2)}


def test_of_those_that_noise_does_not_tell_apart_the_smallest_is_best() -> None:
    half = [0.010, 0.012] * 4
    int8 = [0.012, 0.010] * 4  # as fast as half: sometimes faster, sometimes slower
    assert best(measured({QUERY: [[0.02] * 8, half, int8]}))["one query"][0] == "int8"
    found = best_files([measured({QUERY: [[0.02] * 8, half, int8]})], SIZES)[0]
    assert not found.to_fastest.is_measurable
    int8 = [seconds + 0.004 for seconds in half]
    assert best(measured({QUERY: [[0.02] * 8, half, int8]}))["one query"][0] == "half"


def test_the_shortest_text_alone_is_a_query_and_the_most_tokens_are_bulk() -> None:
    found = measured(
        {QUERY: constant(3, 2, 1), PASSAGE: constant(1, 2, 3), BULK: constant(2, 1, 3)}
    )
    assert best(found) == {"one query": ("int8", 2), "bulk": ("half", 2)}


def test_without_a_batch_of_several_texts_nothing_is_said_of_bulk() -> None:
    assert set(best(measured({QUERY: constant(3, 2, 1)}))) == {"one query"}
    assert set(best(measured({BULK: constant(3, 2, 1)}))) == {"bulk"}
    assert best(measured({})) == {}


def test_latencies_have_percentiles_in_milliseconds_and_a_speed_relative_to_float32() -> None:
    rounds = [n / 1000 for n in range(1, 21)]
    found = measured({QUERY: [[2 * s for s in rounds], rounds, rounds]})
    (float32,), (half,) = found.latencies("float32"), found.latencies("half")
    assert float32.speedup is None
    assert [half.p50_ms, half.p95_ms] == pytest.approx([10, 19])
    assert half.rounds == 20
    assert half.texts_per_second == pytest.approx(100)
    assert half.speedup is not None
    assert half.speedup.times == pytest.approx(2)
    assert not list(found.latencies("other"))
    (alone,) = measured({QUERY: [rounds] * 3}, base=None).latencies("half")
    assert alone.speedup is None


def test_one_thread_is_no_threads() -> None:
    assert [in_threads(count) for count in (1, 2)] == ["1 thread", "2 threads"]
