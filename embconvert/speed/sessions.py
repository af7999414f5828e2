"""Times graphs on ONNX Runtime, or OpenVINO, in the process that calls it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embconvert.fidelity.runners import Session
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.openvino_ir import IR_SUFFIX, IrSession
from embconvert.graph.runtime import CPU_PROVIDER, OnnxSession, open_session, timed_options
from embconvert.graph.segments import open_mapped
from embconvert.models.shapes import Shape
from embconvert.processes.stops import measured
from embconvert.speed.batch import batch_of
from embconvert.speed.machine import observed
from embconvert.speed.turns import CannotRun, TimeBudget, take_turns


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """How graphs are timed.

    Attributes:
        threads: Of the runtime; 0 is its default.
        maps_weights: Whether weights in ONNX files are mapped, not read. Graphs run as fast, and
            open sooner in a fraction of the memory, but a temporary file is written beside each.
    """

    shapes: tuple[Shape, ...]
    budget: TimeBudget
    threads: int = 0
    provider: str = CPU_PROVIDER
    maps_weights: bool = False


@dataclass(frozen=True, kw_only=True)
class Times:
    """Times of several graphs.

    Attributes:
        seconds: By shape, and for each graph by round; each round ran all graphs.
        left_out: Why a shape was not timed.
        waited: See machine.Disturbance.
    """

    seconds: Mapping[Shape, Sequence[Sequence[float]]]
    left_out: Mapping[Shape, str]
    waited: float | None


def time_graphs(
    graphs: Sequence[Path],
    texts: TokenizedTexts,
    settings: TimingSettings,
    advance: Callable[[float], None] = lambda _: None,
) -> Times:
    """Times graphs in turns, on batches that are made of the texts.

    `advance` gets the share of work since the last call. Raises ValueError if a graph does not
    load, or has an input that tokenization does not provide.
    """
    sessions = [
        open_timed(path, settings.threads, settings.provider, maps_weights=settings.maps_weights)
        for path in graphs
    ]
    shapes = sorted(settings.shapes, key=lambda shape: (shape.tokens * shape.texts, shape.tokens))
    groups = [
        {n: _runner(session, texts, shape) for n, session in enumerate(sessions)}
        for shape in shapes
    ]
    with observed() as disturbance:
        found = take_turns(
            groups, settings.budget, timer=lambda work: measured(work)[1], advance=advance
        )
    results = dict(zip(shapes, found, strict=True))
    return Times(
        seconds={s: [*t.values()] for s, t in results.items() if not isinstance(t, str)},
        left_out={s: t for s, t in results.items() if isinstance(t, str)},
        waited=disturbance.waited,
    )


def load_and_run(
    graph: Path, texts: TokenizedTexts, shapes: Sequence[Shape], threads: int
) -> float:
    """Loads a graph and runs each shape once; returns seconds of loading, or raises ValueError."""
    session, loading_s = measured(lambda: open_timed(graph, threads))
    for shape in shapes:
        try:
            _runner(session, texts, shape)()
        except CannotRun as error:
            raise ValueError(str(error)) from error
    return loading_s


def open_timed(
    path: Path, threads: int, provider: str = CPU_PROVIDER, *, maps_weights: bool = False
) -> Session:
    """Opens a graph; raises ValueError if it does not load, or the provider is not there."""
    if path.suffix == IR_SUFFIX and provider != CPU_PROVIDER:
        raise ValueError(f"{provider} does not run {path.name}, a file for OpenVINO")
    try:
        if path.suffix == IR_SUFFIX:
            return IrSession(path, threads)
        options = timed_options(threads)
        if maps_weights and path.suffix == ".onnx":
            session = open_mapped(path, path.parent, options, provider)
        else:
            session = open_session(path, options, provider)
    except MemoryError:
        raise
    except Exception as error:
        runtime = "OpenVINO" if path.suffix == IR_SUFFIX else "ONNX Runtime"
        raise ValueError(f"{runtime} cannot load {path.name}: {error}") from error
    if provider not in session.get_providers():  # it was replaced by the CPU
        raise ValueError(f"{provider} does not work here")
    return OnnxSession(session)


def _runner(session: Session, texts: TokenizedTexts, shape: Shape) -> Callable[[], object]:
    """Returns a function that runs a batch of a shape."""
    feeds = batch_of(texts, shape, list(session.inputs))

    def run() -> None:
        try:
            session.run(feeds)
        except MemoryError:
            raise
        except Exception as error:
            raise CannotRun(str(error)) from error

    return run
