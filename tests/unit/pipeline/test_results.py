"""Which graph a step works on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.cli.main import parse
from embconvert.pipeline.results import Results
from support.examples import graph
from support.plans import plan

LINE = "quantize --model_id m --model_path given.onnx --quantize Q8 --shape 1x8"


def results(folder: Path, old: Any = None) -> Results:
    """Those of a run that was given a graph, and whose source is nothing."""
    request = parse(LINE.split())[1]
    prepared: Any = SimpleNamespace(request=request, resolved=None, same_source=None, digests={})
    staging: Any = SimpleNamespace(folder=folder)
    verification: Any = None
    reuse: Any = SimpleNamespace(published=lambda _: None, old=old)
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


def test_an_earlier_search_on_another_export_is_not_published(tmp_path: Path) -> None:
    export, other = graph(tmp_path, "model", 100), graph(tmp_path, "other", 100)
    search: Any = SimpleNamespace(candidates=())
    found = results(tmp_path, old=SimpleNamespace(search=search, artifacts=[export]))
    found.search = search
    found.records = {export.path: export}
    assert found.search_on_export is search
    found.records = {export.path: replace(other, path=export.path)}
    assert found.search_on_export is None
    of_this_run: Any = SimpleNamespace(candidates=())
    found.search = of_this_run
    assert found.search_on_export is not None


@pytest.mark.parametrize("more", ["", " --no_float32"])
def test_a_graph_that_was_made_from_another_export_is_found(tmp_path: Path, more: str) -> None:
    """Even if a fault of the plan took it for up to date."""
    steps = plan(f"all --model_id m --optimize 1 --quantize Q8{more}").steps
    found = results(tmp_path)
    found.digests = {None: "today's source"}
    for step in steps:
        record = graph(tmp_path, Path(step.file).stem, 100)
        found.records[step.file] = replace(record, path=step.file, key=found.key(step))
    found.check_sources(steps)
    found.digests = {None: "another source"}
    with pytest.raises(RuntimeError, match=r"model\.onnx was not made from today's export"):
        found.check_sources(steps)
    del found.records[steps[0].file]  # as if it had been made before, too
    found.digests = {None: "another source", steps[0].file: "another export"}
    with pytest.raises(RuntimeError, match=r"model_opt1\.onnx was not made from"):
        found.check_sources(steps)
