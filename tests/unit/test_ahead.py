"""What is made before its turn, and what becomes of it."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from embconvert.console import Console
from embconvert.errors import OptimizeError, QuantizeError
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.kinds import Kind
from embconvert.pipeline import prepare
from embconvert.pipeline.ahead import Ahead
from embconvert.plan.steps import Stage, Step
from embconvert.processes.workers import WorkerCrashed

GRAPH: Any = SimpleNamespace(path=Path("model.onnx"), total_size_bytes=1)
OPTIMIZED = Step(
    stage=Stage.OPTIMIZE,
    file="opt.onnx",
    source="model.onnx",
    level=OptimizationLevel.BASIC,
    precision=Precision.FLOAT32,
    floor=None,
    settings={},
)
FLOAT16, Q8 = (
    Step(
        stage=Stage.QUANTIZE,
        file=f"{precision}.onnx",
        source="opt.onnx",
        level=OptimizationLevel.BASIC,
        precision=precision,
        floor=None,
        settings={},
    )
    for precision in (Precision.FLOAT16, Precision.Q8)
)


class Worker:
    """Notes what it does; ends with the next of the given exit codes, where there is one."""

    def __init__(self, events: list[str], deaths: list[int]) -> None:
        self._events, self._deaths = events, deaths
        self._file = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.append(f"{self._file} ends")

    def begin(self, _: object, __: object, path: Path, **___: object) -> None:
        self._file = path.name
        self._events.append(f"{path.name} begins")

    def result(self) -> tuple[str, str]:
        if self._deaths:
            raise WorkerCrashed(self._deaths.pop(0))
        return self._file, "meter"

    def kill(self) -> None:
        self._events.append(f"{self._file} is killed")


def make_ahead(
    tmp_path: Path, events: list[str], *, has_room: bool = True, deaths: tuple[int, ...] = ()
) -> Ahead:
    left = list(deaths)
    parts: dict[str, Any] = {
        "staging": SimpleNamespace(path=tmp_path.joinpath, work=tmp_path, folder=tmp_path),
        "ledger": SimpleNamespace(late_interaction=None),
        "source": SimpleNamespace(max_seq_length=None, kind=Kind.EMBEDDING),
        "workers": SimpleNamespace(take=lambda _: Worker(events, left)),
    }
    request: Any = SimpleNamespace(skip_shape_inference=False, calibration_dataset=None)
    console = Console(quiet=False, debug=False)
    return Ahead(request, **parts, console=console, has_room=has_room)


@pytest.mark.parametrize(
    ("verifies", "in_pieces", "available", "room"),
    [
        (True, False, 4_400_000_000, True),
        (True, False, 4_300_000_000, False),  # whole graphs
        (True, True, 1_400_000_000, True),
        (True, True, 1_300_000_000, False),
        (False, False, 1_400_000_000, True),  # nothing runs whole
    ],
)
def test_two_at_a_time_take_what_is_left(
    verifies: bool, in_pieces: bool, available: int, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "available_memory_bytes", lambda: available)
    monkeypatch.setattr(prepare, "cpus", lambda: 2)
    plan: Any = SimpleNamespace(
        steps=(OPTIMIZED, FLOAT16),
        verifies=verifies,
        whole_graphs_bytes=4_000_000_000,
        memory_need_bytes=1_000_000_000,
        beside_bytes=400_000_000,
    )
    console = Console(quiet=True, debug=False)
    assert prepare.has_room_for_two(plan, console, in_pieces=in_pieces) is room
    monkeypatch.setattr(prepare, "cpus", lambda: 1)
    assert not prepare.has_room_for_two(plan, console, in_pieces=in_pieces)


def made(ahead: Ahead, step: Step) -> object:
    return ahead.finish(step)[0]


def test_a_file_begun_early_is_made_once_and_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[str] = []
    ahead = make_ahead(tmp_path, events)
    ahead.start(FLOAT16, "Float16", GRAPH)
    ahead.start_early(Q8, GRAPH)
    assert made(ahead, FLOAT16) == "Float16.onnx"
    assert Q8 in ahead
    ahead.wait()
    ahead.start(Q8, "Q8", GRAPH)
    assert made(ahead, Q8) == "Q8.onnx"
    assert Q8 not in ahead
    assert events == ["Float16.onnx begins", "Q8.onnx begins", "Float16.onnx ends", "Q8.onnx ends"]
    assert "quantize: Q8.onnx, meanwhile" in capsys.readouterr().err


def test_without_room_nothing_is_begun_early(tmp_path: Path) -> None:
    events: list[str] = []
    ahead = make_ahead(tmp_path, events, has_room=False)
    ahead.start_early(Q8, GRAPH)
    assert Q8 not in ahead
    assert events == []


def test_what_fails_early_fails_when_it_is_asked_for(tmp_path: Path) -> None:
    ahead = make_ahead(tmp_path, [], deaths=(-signal.SIGSEGV,))
    ahead.start_early(OPTIMIZED, GRAPH)
    ahead.wait()
    with pytest.raises(OptimizeError, match=r"opt.onnx could not be made: .*SIGSEGV"):
        ahead.finish(OPTIMIZED)


@pytest.mark.parametrize(("first", "other"), [(FLOAT16, Q8), (Q8, FLOAT16)])
def test_what_two_at_a_time_lack_memory_for_is_made_alone(
    first: Step, other: Step, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[str] = []
    ahead = make_ahead(tmp_path, events, deaths=(-signal.SIGKILL,))
    ahead.start(FLOAT16, "Float16", GRAPH)
    ahead.start_early(Q8, GRAPH)
    assert made(ahead, first) == first.file
    # The one beside it has ended before it begins once more.
    ends = [f"{first.file} ends", f"{other.file} ends"]
    assert events[2:] == [*ends, f"{first.file} begins", f"{first.file} ends"]
    assert "once more, with nothing beside it" in capsys.readouterr().err
    ahead.start_early(OPTIMIZED, GRAPH)
    assert OPTIMIZED not in ahead


def test_each_of_two_that_lack_memory_is_made_alone(tmp_path: Path) -> None:
    ahead = make_ahead(tmp_path, [], deaths=(-signal.SIGKILL, -signal.SIGKILL))
    ahead.start(FLOAT16, "Float16", GRAPH)
    ahead.start_early(Q8, GRAPH)
    ahead.wait()
    assert made(ahead, FLOAT16) == FLOAT16.file
    assert made(ahead, Q8) == Q8.file


def test_what_lacks_memory_alone_as_well_fails(tmp_path: Path) -> None:
    ahead = make_ahead(tmp_path, [], deaths=(-signal.SIGKILL,) * 3)
    ahead.start(FLOAT16, "Float16", GRAPH)
    ahead.start_early(Q8, GRAPH)
    ahead.wait()
    with pytest.raises(QuantizeError, match="lack of memory"):
        ahead.finish(FLOAT16)


def test_what_lacks_memory_with_nothing_beside_it_fails(tmp_path: Path) -> None:
    events: list[str] = []
    ahead = make_ahead(tmp_path, events, deaths=(-signal.SIGKILL,))
    ahead.start(Q8, "Q8", GRAPH)
    with pytest.raises(QuantizeError, match="lack of memory"):
        ahead.finish(Q8)
    assert events == ["Q8.onnx begins", "Q8.onnx ends"]


def test_what_is_made_of_a_file_that_goes_is_given_up(tmp_path: Path) -> None:
    events: list[str] = []
    ahead = make_ahead(tmp_path, events)
    ahead.start_early(OPTIMIZED, GRAPH)
    ahead.start_early(Q8, GRAPH)
    ahead.give_up("model.onnx")
    assert OPTIMIZED not in ahead
    assert Q8 in ahead
    assert events[2:] == ["opt.onnx is killed"]
