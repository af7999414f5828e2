"""The records of `embconvert bench`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from embconvert.models.choices import Precision
from embconvert.models.constraints import (
    Count,
    GraphSize,
    Name,
    Positive,
    Rate,
    Record,
    RelativePath,
    Seconds,
    Share,
    Text,
)
from embconvert.models.json_records import adapter
from embconvert.models.kinds import Kind
from embconvert.models.shapes import Shape
from embconvert.speed.records import Speedup, busy_words


@dataclass(frozen=True, kw_only=True)
class LatencyRecord(Record):
    """How long a graph takes for batches of a shape.

    Attributes:
        provider: ONNX Runtime's name of what ran it.
        threads: Of ONNX Runtime.
        rounds: Number of measurements.
        p50_ms: Median.
        p95_ms: 95% took at most so long; of fewer than 20 rounds, the longest.
        texts_per_second: At the median.
        speedup: Relative to the exported float32 graph; None for that graph, and without it.
    """

    provider: Name
    threads: Positive
    shape: Shape
    rounds: Positive
    p50_ms: Rate
    p95_ms: Rate
    texts_per_second: Rate
    speedup: Speedup | None


@dataclass(frozen=True, kw_only=True)
class BenchedGraph(Record):
    """What was measured of a graph.

    Attributes:
        path: Relative to the folder.
        size_bytes: With its external data.
        load_s: From the file to a session on the CPU, with the file in the page cache; None if it
            could not be loaded alone.
        peak_memory_bytes: Of a process that loads it on the CPU and runs each shape once, with the
            libraries.
    """

    path: RelativePath
    precision: Precision
    size_bytes: GraphSize
    load_s: Seconds | None
    peak_memory_bytes: Count | None
    latencies: Annotated[tuple[LatencyRecord, ...], MaxLen(10_000)]


@dataclass(frozen=True, kw_only=True)
class LeftOutRecord(Record):
    """What was not measured, and why."""

    what: Text
    reason: Text


@dataclass(frozen=True, kw_only=True)
class BestRecord(Record):
    """The file for a use: the smallest of those that are not slower than the fastest beyond noise.

    Attributes:
        use: What it is best for.
        latency: Of that file, where the fastest was measured.
        to_fastest: Its speed relative to the fastest; if that is not measurable, only its size
            speaks for it.
    """

    use: Literal["one query", "bulk"]
    path: RelativePath
    latency: LatencyRecord
    to_fastest: Speedup


@dataclass(frozen=True, kw_only=True)
class Benchmark(Record):
    """The speeds of a folder's graphs on this machine, all measured in turns.

    Attributes:
        route: Of an asymmetric model; None if it has none.
        processor: Of this machine.
        cpus: That may be used.
        onnxruntime: Its version.
        waited: As in the manifest's SpeedsRecord; the highest of all settings.
        best: For one query and for bulk.
    """

    schema_version: Literal[1] = 1
    model_id: Name
    revision: Name | None
    route: Name | None
    kind: Kind
    processor: Name
    cpus: Positive
    onnxruntime: Name
    waited: Share | None
    graphs: Annotated[tuple[BenchedGraph, ...], MinLen(1), MaxLen(1000)]
    left_out: Annotated[tuple[LeftOutRecord, ...], MaxLen(10_000)]
    best: Annotated[tuple[BestRecord, ...], MaxLen(2)]

    @property
    def busy_words(self) -> str | None:
        """A warning if other work disturbed the measurement."""
        return busy_words(self.waited)


def as_text(benchmark: Benchmark) -> str:
    return adapter(Benchmark).dump_json(benchmark, indent=2).decode()


def name_of_provider(provider: str) -> str:
    """Returns a provider's name in short, such as CPU."""
    return provider.removesuffix("ExecutionProvider")


def in_threads(count: int) -> str:
    """Returns a number of threads in words."""
    return f"{count} thread{'s' * (count != 1)}"
