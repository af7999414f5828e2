"""Which graph a step works on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from embconvert.cli.main import parse
from embconvert.pipeline.results import Results
from support.examples import graph
from support.plans import plan

LINE = "quantize --model_id m --model_path given.onnx --quantize Q8 --shape 1x8"


def results(folder: Path) -> Results:
    """Those of a run that was given a graph, and whose source is nothing."""
    request = parse(LINE.split())[1]
    prepared: Any = SimpleNamespace(request=request, resolved=None, same_source=None, digests={})
    staging: Any = SimpleNamespace(folder=folder)
    verification: Any = None
    reuse: Any = SimpleNamespace(published=lambda _: None)
    return Results(prepared, staging, reuse, verification)


def test_a_file_is_derived_from_the_quantized_graph_and_not_from_the_users(tmp_path: Path) -> None:
    quantize, derive = plan(LINE).steps
    found = results(tmp_path)
    given = graph(tmp_path, "given", 100)
    quantized = replace(graph(tmp_path, "model_opt0_Q8", 50), path=quantize.file)
    found.take_given(given.artifact(tmp_path))
    found.records[quantize.file] = quantized
    assert found.source_of(quantize).sha256 == given.sha256
    assert found.source_of(derive).sha256 == quantized.sha256
