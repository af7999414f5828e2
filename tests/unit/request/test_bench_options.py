"""What `embconvert bench` is asked for."""

from pathlib import Path

import pytest

from embconvert.cli.main import parse
from embconvert.errors import UsageError
from embconvert.models.shapes import BENCH_SHAPES, Shape
from embconvert.request.records import BenchRequest


def asked(*words: str) -> BenchRequest:
    _, request = parse(["bench", "models/m", *words])
    assert isinstance(request, BenchRequest)
    return request


def test_without_options_it_measures_queries_passages_and_bulk_with_all_cpus() -> None:
    request = asked()
    assert request.folder == Path("models/m")
    assert [str(shape) for shape in request.shapes] == ["1x16", "1x128", "1x512", "8x128", "32x128"]
    assert request.shapes == BENCH_SHAPES
    assert (request.threads, request.providers) == ((None,), None)


def test_lists_are_taken_in_order_and_once() -> None:
    request = asked(
        "--shapes", "8X128, 1x16,8x128", "--threads", "2,all,2", "--providers",
        "CPU,CUDAExecutionProvider", "--seconds", "90", "--json",
    )  # fmt: skip
    assert request.shapes == (Shape(texts=8, tokens=128), Shape(texts=1, tokens=16))
    assert request.threads == (2, None)
    assert request.providers == ("cpu", "cuda")
    assert (request.seconds, request.json) == (90.0, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--shapes", value)
        for value in (
            "16",
            "x16",
            "1x",
            "0x16",
            "1x0",
            "1x16x2",
            "-1x16",
            "1x1e3",
            "1x100001",
            "1x16,,",
        )
    ]
    + [("--threads", value) for value in ("0", "-1", "some", "1,,2", "1.5", "9" * 30)]
    + [("--providers", value) for value in ("cpu,", "../x", "a b")]
    + [("--seconds", value) for value in ("0", "-3", "nan", "inf", "1e9", "soon")],
)
def test_what_is_no_list_of_that_form_is_refused_with_an_example(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=option) as refused:
        asked(f"{option}={value}")
    assert refused.value.hint
