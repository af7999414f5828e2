"""A benchmark as `embconvert bench` makes it, of nothing: for tests of what shows it."""

from embconvert.models.choices import Precision
from embconvert.models.kinds import Kind
from embconvert.models.shapes import Shape
from embconvert.speed.bench_records import (
    BenchedGraph,
    Benchmark,
    BestRecord,
    LatencyRecord,
    LeftOutRecord,
)
from embconvert.speed.records import Speedup

QUERY, BULK = Shape(texts=1, tokens=16), Shape(texts=32, tokens=128)
TWICE, EQUAL = Speedup(times=2.0, spread=0.1), Speedup(times=1.0, spread=0.0)


def latency(shape: Shape, ms: float, speedup: Speedup | None, threads: int = 2) -> LatencyRecord:
    return LatencyRecord(
        provider="CPUExecutionProvider", threads=threads, shape=shape, rounds=20, p50_ms=ms,
        p95_ms=1.5 * ms, texts_per_second=1000 * shape.texts / ms, speedup=speedup,
    )  # fmt: skip


def graph(name: str, *latencies: LatencyRecord) -> BenchedGraph:
    return BenchedGraph(
        path=f"onnx/{name}.onnx", precision=Precision.FLOAT32, size_bytes=90_000_000, load_s=0.25,
        peak_memory_bytes=245_000_000, latencies=latencies,
    )  # fmt: skip


BENCHMARK = Benchmark(
    model_id="org/model",
    revision=None,
    route=None,
    kind=Kind.EMBEDDING,
    processor="AMD EPYC",
    cpus=2,
    onnxruntime="1.32.0",
    waited=0.01,
    graphs=(
        graph("model", latency(QUERY, 4.0, None), latency(BULK, 1000.0, None)),
        graph("model_QInt8", latency(QUERY, 2.0, TWICE), latency(BULK, 500.0, TWICE)),
    ),
    left_out=(LeftOutRecord(what="1x512", reason="the model reads at most 256 tokens"),),
    best=(
        BestRecord(
            use="one query", path="onnx/model_QInt8.onnx", latency=latency(QUERY, 2, TWICE),
            to_fastest=EQUAL,
        ),
        BestRecord(
            use="bulk", path="onnx/model_QInt8.onnx", latency=latency(BULK, 500, TWICE),
            to_fastest=EQUAL,
        ),
    ),
)  # fmt: skip
