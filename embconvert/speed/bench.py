"""Makes the records of `embconvert bench` of measured times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embconvert.models.shapes import Shape
from embconvert.speed.bench_records import BestRecord, LatencyRecord
from embconvert.speed.records import Verdict
from embconvert.speed.sessions import Times
from embconvert.speed.statistics import percentile, speedup


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The times of graphs that took turns in one setting.

    Attributes:
        paths: Of the graphs, in the order of the times.
        base: The graph to compare with, which is one of them; None if there is none.
    """

    provider: str
    threads: int
    paths: Sequence[str]
    base: str | None
    times: Times

    def latencies(self, path: str) -> Iterator[LatencyRecord]:
        """Yields the figures of a graph, by shape; none if it is not one of these."""
        if path not in self.paths:
            return
        number = self.paths.index(path)
        for shape, rounds in sorted(self.times.seconds.items()):
            own = rounds[number]
            base = rounds[self.paths.index(self.base)] if self.base is not None else own
            middle = percentile(own, 0.5)
            yield LatencyRecord(
                provider=self.provider,
                threads=self.threads,
                shape=shape,
                rounds=len(own),
                p50_ms=1000 * middle,
                p95_ms=1000 * percentile(own, 0.95),
                texts_per_second=shape.texts / middle,
                speedup=None if base is own else speedup(base, own),
            )


def best_files(measured: Sequence[Measured], sizes: Mapping[str, int]) -> list[BestRecord]:
    """Returns the best file for one query, and for bulk; `sizes` are the graphs' in bytes.

    One query is the shortest text alone; bulk is the batch with the most tokens.
    """
    shapes = {shape for one in measured for shape in one.times.seconds}
    alone = min((shape for shape in shapes if shape.texts == 1), default=None)
    bulk = max(shapes, key=lambda s: (s.texts * s.tokens, s.texts), default=None)
    found = []
    if alone is not None:
        found.append(_best("one query", alone, measured, sizes))
    if bulk is not None and bulk.texts > 1:
        found.append(_best("bulk", bulk, measured, sizes))
    return found


def _best(
    use: Literal["one query", "bulk"],
    shape: Shape,
    measured: Sequence[Measured],
    sizes: Mapping[str, int],
) -> BestRecord:
    _, setting, fastest = min(
        (percentile(own, 0.5), number, place)
        for number, one in enumerate(measured)
        for place, own in enumerate(one.times.seconds.get(shape, ()))
    )
    one = measured[setting]
    rounds = one.times.seconds[shape]
    to_fastest = {
        path: speedup(rounds[fastest], own) for path, own in zip(one.paths, rounds, strict=True)
    }
    possible = [path for path in to_fastest if to_fastest[path].verdict is not Verdict.SLOWER]
    path = min(possible, key=lambda path: sizes[path])
    latency = next(found for found in one.latencies(path) if found.shape == shape)
    return BestRecord(use=use, path=path, latency=latency, to_fastest=to_fastest[path])
