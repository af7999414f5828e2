"""How `embconvert bench` shows its figures: tables and a page."""

from collections.abc import Sequence

from embconvert.models.kinds import KINDS, Reading
from embconvert.reporting.plots import speeds_by_shape
from embconvert.reporting.templates import markup, render
from embconvert.speed.bench_records import (
    BenchedGraph,
    Benchmark,
    BestRecord,
    LatencyRecord,
    in_threads,
    name_of_provider,
)
from embconvert.tables import Column


def graphs_header() -> tuple[Column, ...]:
    return tuple(Column(title=title) for title in ("file", "size", "loading", "memory"))


def graphs_rows(benchmark: Benchmark) -> list[list[str]]:
    """Returns one row per graph."""
    return [
        [
            graph.path,
            f"{graph.size_bytes / 1e6:.1f} MB",
            "-" if graph.load_s is None else f"{graph.load_s:.2f} s",
            "-" if graph.peak_memory_bytes is None else f"{graph.peak_memory_bytes / 1e6:.0f} MB",
        ]
        for graph in benchmark.graphs
    ]


def bench_header(benchmark: Benchmark) -> tuple[Column, ...]:
    """Returns the columns; those of what is the same in all rows are left out."""
    return (
        Column(title="file"),
        *[Column(title="provider", is_word=True)] * (len(_providers(benchmark)) > 1),
        *[Column(title="threads")] * (len(_threads(benchmark)) > 1),
        Column(title="batch"),
        Column(title="p50 ms"),
        Column(title="p95 ms", rank=1),
        Column(title=f"{_items(benchmark)}/s", rank=2),
        Column(title="speed"),
    )


def bench_rows(benchmark: Benchmark) -> list[list[str]]:
    """Returns one row per graph, setting and shape; the graphs of a shape are together."""
    found = [
        (latency.provider, latency.threads, latency.shape, number, graph, latency)
        for number, graph in enumerate(benchmark.graphs)
        for latency in graph.latencies
    ]
    has_float32 = any(latency.speedup for latency in _latencies(benchmark))
    rows = []
    for *_, graph, latency in sorted(found, key=lambda entry: entry[:4]):
        row = [graph.path]
        row += [name_of_provider(latency.provider)] * (len(_providers(benchmark)) > 1)
        row += [str(latency.threads)] * (len(_threads(benchmark)) > 1)
        row += [str(latency.shape), milliseconds(latency.p50_ms), milliseconds(latency.p95_ms)]
        speed = str(latency.speedup or ("1x" if has_float32 else "-"))
        row += [f"{latency.texts_per_second:.0f}", speed]
        rows.append(row)
    return rows


def milliseconds(value: float) -> str:
    """Returns a time with about three digits."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def best_words(best: BestRecord) -> str:
    """Returns which file to take for a use, and why."""
    found = best.latency
    figure = (
        f"{milliseconds(found.p50_ms)} ms for {found.shape}"
        if best.use == "one query"
        else f"{found.texts_per_second:.0f} a second in batches of {found.shape}"
    )
    where = f"{name_of_provider(found.provider)}, {in_threads(found.threads)}"
    ratio = ""
    if found.speedup is not None:
        ratio = f"; {found.speedup} relative to float32"
        if not found.speedup.is_measurable:
            ratio = "; its speed relative to float32 is not measurable"
    words = f"best for {best.use}: {best.path}, {figure} ({where}{ratio})"
    if best.to_fastest.is_measurable:
        return words
    return f"{words}; chosen for its size, because noise hides which file is the fastest"


def bench_page(benchmarks: Sequence[Benchmark]) -> str:
    """Returns the page as HTML; several benchmarks are those of a model's routes."""
    return render(
        "bench.html",
        {
            "title": benchmarks[0].model_id,
            "parts": [
                {
                    "benchmark": benchmark,
                    "files": (graphs_header(), graphs_rows(benchmark)),
                    "times": (bench_header(benchmark), bench_rows(benchmark)),
                    "best": [best_words(best) for best in benchmark.best],
                    "plots": _plots(benchmark),
                    "unit": _items(benchmark),
                }
                for benchmark in benchmarks
            ],
        },
    )


def _plots(benchmark: Benchmark) -> list[tuple[str, dict[str, object]]]:
    """Returns a plot of the speeds relative to float32 of each setting, with its title."""
    plots = []
    for provider in _providers(benchmark):
        for threads in _threads(benchmark):
            found = {
                _label(graph): {
                    str(latency.shape): (latency.speedup.times, latency.speedup.spread)
                    for latency in graph.latencies
                    if (latency.provider, latency.threads) == (provider, threads)
                    and latency.speedup is not None
                    and latency.speedup.is_measurable
                }
                for graph in benchmark.graphs
            }
            shown = {label: speeds for label, speeds in found.items() if speeds}
            if shown:
                title = f"{name_of_provider(provider)}, {in_threads(threads)}"
                drawn = {shape for speeds in shown.values() for shape in speeds}
                order = [shape for shape in _shapes(benchmark) if shape in drawn]
                plot = {"svg": markup(speeds_by_shape(shown, order)), "names": list(shown)}
                plots.append((title, plot))
    return plots


def _label(graph: BenchedGraph) -> str:
    return graph.path.rpartition("/")[2].removesuffix(".onnx")


def _latencies(benchmark: Benchmark) -> list[LatencyRecord]:
    return [latency for graph in benchmark.graphs for latency in graph.latencies]


def _providers(benchmark: Benchmark) -> list[str]:
    return sorted({latency.provider for latency in _latencies(benchmark)})


def _threads(benchmark: Benchmark) -> list[int]:
    return sorted({latency.threads for latency in _latencies(benchmark)})


def _shapes(benchmark: Benchmark) -> list[str]:
    """Returns the shapes as the table of times orders them."""
    return [str(shape) for shape in sorted({latency.shape for latency in _latencies(benchmark)})]


def _items(benchmark: Benchmark) -> str:
    return "pairs" if KINDS[benchmark.kind].reading is Reading.PAIR else "texts"
