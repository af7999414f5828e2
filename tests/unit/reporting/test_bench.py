"""What `embconvert bench` shows."""

import json
from dataclasses import replace

import jsonschema
import pytest

from embconvert.models.kinds import Kind
from embconvert.reporting.bench import (
    bench_header,
    bench_page,
    bench_rows,
    best_words,
    graphs_rows,
    milliseconds,
)
from embconvert.speed.bench_records import as_text
from embconvert.speed.records import Speedup
from support.benchmark import BENCHMARK, BULK, QUERY, TWICE, graph, latency
from support.documents import schema
from support.html_page import Page


def test_the_files_of_a_batch_are_together() -> None:
    assert [column.title for column in bench_header(BENCHMARK)] == [
        "file", "batch", "p50 ms", "p95 ms", "texts/s", "speed",
    ]  # fmt: skip
    assert bench_rows(BENCHMARK) == [
        ["onnx/model.onnx", "1x16", "4.00", "6.00", "250", "1x"],
        ["onnx/model_QInt8.onnx", "1x16", "2.00", "3.00", "500", "2.00x ± 0.10"],
        ["onnx/model.onnx", "32x128", "1000", "1500", "32", "1x"],
        ["onnx/model_QInt8.onnx", "32x128", "500", "750", "64", "2.00x ± 0.10"],
    ]
    assert graphs_rows(BENCHMARK)[0] == ["onnx/model.onnx", "90.0 MB", "0.25 s", "245 MB"]


def test_threads_have_a_column_if_there_are_several_numbers() -> None:
    one = latency(QUERY, 8.0, None, threads=1)
    several = replace(BENCHMARK, graphs=(graph("model", latency(QUERY, 4.0, None), one),))
    assert "threads" in [column.title for column in bench_header(several)]
    assert [row[1] for row in bench_rows(several)] == ["1", "2"]


def test_rerankers_take_pairs() -> None:
    pairs = replace(BENCHMARK, kind=Kind.RERANKER)
    assert "pairs/s" in [column.title for column in bench_header(pairs)]


def test_the_best_file_is_named_with_its_figure() -> None:
    query, bulk = map(best_words, BENCHMARK.best)
    assert query == (
        "best for one query: onnx/model_QInt8.onnx, 2.00 ms for 1x16 "
        "(CPU, 2 threads; 2.00x ± 0.10 relative to float32)"
    )
    assert "64 a second in batches of 32x128" in bulk


NOISE = Speedup(times=2.26, spread=5.65)


def test_what_noise_hides_is_said_and_has_no_bar() -> None:
    hidden = replace(BENCHMARK.best[0], latency=latency(QUERY, 2.0, NOISE), to_fastest=NOISE)
    assert best_words(hidden).endswith(
        "(CPU, 2 threads; its speed relative to float32 is not measurable); chosen for its size, "
        "because noise hides which file is the fastest"
    )
    noisy = replace(
        BENCHMARK,
        graphs=(BENCHMARK.graphs[0], graph("model_QInt8", latency(QUERY, 2.0, NOISE))),
    )
    assert bench_rows(noisy)[1][-1] == "not measurable"
    content = bench_page([noisy])
    assert 'role="img"' not in content
    assert "2.26" not in Page(content).text
    assert "noise may hide a difference of 10%" in Page(content).text


@pytest.mark.parametrize(
    ("value", "text"), [(0.012, "0.01"), (9.99, "9.99"), (12.34, "12.3"), (123.4, "123")]
)
def test_times_have_as_many_digits_as_tell(value: float, text: str) -> None:
    assert milliseconds(value) == text


def test_the_page_has_a_plot_the_tables_and_what_was_left_out() -> None:
    busy = replace(BENCHMARK, waited=0.4, model_id="org/<i>m")
    content = bench_page([busy])
    page = Page(content)
    assert content.count('role="img"') == 1
    assert "2.00 ± 0.10" in content
    for words in (
        "Best for one query: onnx/model_QInt8.onnx", "for 40% of the time", "AMD EPYC, 2 CPUs",
        "A batch is a number of texts and the tokens",
        "1x512: the model reads at most 256 tokens", "org/<i>m",
    ):  # fmt: skip
        assert words in page.text
    assert "<i>m" not in content
    assert "busy" not in Page(bench_page([BENCHMARK])).text


def test_each_route_has_its_part() -> None:
    parts = [replace(BENCHMARK, route=name) for name in ("query", "document")]
    text = Page(bench_page(parts)).text
    assert text.index("Route query") < text.index("Route document")


def test_the_plot_has_the_batches_in_the_order_of_the_table() -> None:
    noise = Speedup(times=1.0, spread=0.9)
    float32, faster = BENCHMARK.graphs
    # A plot leaves noise out; the first graph that it shows lacks the first batch.
    lacking = graph("model_Q4", latency(QUERY, 4.0, noise), latency(BULK, 900.0, TWICE))
    content = bench_page([replace(BENCHMARK, graphs=(float32, lacking, faster))])
    plot = content[content.index("<svg") : content.index("</svg>")]
    assert plot.index(f">{QUERY}<") < plot.index(f">{BULK}<")


def test_without_float32_there_is_no_plot() -> None:
    alone = replace(BENCHMARK, graphs=(graph("q", latency(QUERY, 4.0, None)),), best=())
    assert 'role="img"' not in bench_page([alone])


def test_the_json_has_a_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema("bench"))
    value = json.loads(as_text(BENCHMARK))
    validator.validate(value)
    value["graphs"][0]["latencies"][0]["p50_ms"] = 0
    assert not validator.is_valid(value)
