"""What is done while the source is exported, and what becomes of it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from embconvert.console import Console
from embconvert.errors import UnsupportedModelError
from embconvert.export.exporter import Exporter
from embconvert.models.choices import OptimizationLevel, Output, Precision
from embconvert.pipeline.exporting import Exports
from embconvert.plan.steps import Stage, Step
from embconvert.processes.metering import Meter
from embconvert.processes.workers import WorkerCrashed

EXPORT, OPTIMIZE, QUANTIZE = (
    Step(
        stage=stage,
        file=f"{stage}.onnx",
        source=None,
        level=OptimizationLevel.NONE,
        precision=Precision.FLOAT32,
        floor=None,
        settings={"opset": 17},
    )
    for stage in Stage
)


class Copy:
    """Notes what it does, and fails at one of its tasks."""

    def __init__(self, events: list[str], failing: str, failure: Exception | None) -> None:
        self._events, self._failing, self._failure = events, failing, failure
        self._task = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.append("the copy ends")

    def begin(self, task: Callable[..., Any], *_: Any, **__: Any) -> None:
        self._task = task.__name__
        self._events.append(f"{self._task} begins")

    def result(self) -> tuple[str, Meter]:
        self._events.append(f"{self._task} ends")
        if self._failure is not None and self._task == self._failing:
            raise self._failure
        return self._task, Meter(1.0, {"trace_source": 5, "write_traced": 3}[self._task])


def make(
    tmp_path: Path,
    events: list[str],
    *,
    then: Step | None = OPTIMIZE,
    has_room: bool = True,
    may_be_copied: bool = True,
    skip_validation: bool = False,
    failing: str = "",
    failure: Exception | None = None,
) -> Any:
    def export(*_: object, **__: object) -> tuple[str, Meter]:
        events.append("the source exports")
        return "exported", Meter()

    parts: dict[str, Any] = {
        "staging": SimpleNamespace(path=tmp_path.joinpath, work=tmp_path),
        "source": SimpleNamespace(
            copy=lambda: Copy(events, failing, failure),
            export=export,
            may_be_copied=may_be_copied,
        ),
        "verifier": SimpleNamespace(begin=lambda: events.append("the reference begins")),
        "ahead": SimpleNamespace(
            has_room=has_room,
            start_early=lambda step, source: events.append(f"{step.file} of {source} begins"),
            give_up=lambda file: events.append(f"what is made of {file} is given up"),
        ),
    }
    request: Any = SimpleNamespace(skip_validation=skip_validation, output=Output.BOTH, opset=17)
    exports = Exports(request, **parts, console=Console(quiet=False, debug=False))
    return exports.make(EXPORT, Exporter.TRACE, then)


def test_the_reference_does_not_wait_for_a_graph_nor_the_optimizer_for_its_weights(
    tmp_path: Path,
) -> None:
    events: list[str] = []
    artifact, meter = make(tmp_path, events)
    assert artifact == "write_traced"
    assert meter == Meter(2.0, 5)
    assert events == [
        "trace_source begins",
        "the reference begins",
        "trace_source ends",
        "write_traced begins",
        "optimize.onnx of trace_source begins",
        "write_traced ends",
        "the copy ends",
    ]


@pytest.mark.parametrize("then", [QUANTIZE, None])
def test_only_the_optimizer_begins_early(then: Step | None, tmp_path: Path) -> None:
    events: list[str] = []
    make(tmp_path, events, then=then)
    assert not [event for event in events if " of " in event]


@pytest.mark.parametrize(
    "otherwise", [{"has_room": False}, {"may_be_copied": False}, {"skip_validation": True}]
)
def test_the_source_exports_by_itself_where_nothing_can_be_done_beside_it(
    otherwise: dict[str, Any], tmp_path: Path
) -> None:
    events: list[str] = []
    assert make(tmp_path, events, **otherwise)[0] == "exported"
    assert events == ["the source exports"]


@pytest.mark.parametrize("failing", ["trace_source", "write_traced"])
def test_a_copy_that_ends_early_is_replaced_by_the_source(
    failing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[str] = []
    assert make(tmp_path, events, failing=failing, failure=WorkerCrashed(None))[0] == "exported"
    given_up = "what is made of export.onnx is given up"
    assert events[-4:] == [f"{failing} ends", given_up, "the copy ends", "the source exports"]
    assert "once more, with nothing beside it" in capsys.readouterr().err


def test_what_cannot_be_expressed_is_told(tmp_path: Path) -> None:
    failure = UnsupportedModelError("no such operator", "another exporter")
    with pytest.raises(UnsupportedModelError, match="no such operator"):
        make(tmp_path, [], failing="trace_source", failure=failure)
