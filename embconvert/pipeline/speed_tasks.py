"""Functions that measure speeds in worker processes; see tasks.py."""

from collections.abc import Sequence
from pathlib import Path

from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.shapes import Shape
from embconvert.pipeline.tasks import in_steps
from embconvert.processes.metering import Meter, metered
from embconvert.processes.worker import Reporter
from embconvert.speed.sessions import Times, TimingSettings, load_and_run, time_graphs


def time_in_turns(
    reporter: Reporter, graphs: Sequence[Path], texts: TokenizedTexts, settings: TimingSettings
) -> Times | str:
    """Times graphs; returns the problem in words if that fails."""
    advance = in_steps(reporter, len(settings.shapes))
    try:
        return time_graphs(graphs, texts, settings, advance)
    except ValueError as error:
        return str(error)


def measure_alone(
    _: Reporter, graph: Path, texts: TokenizedTexts, shapes: Sequence[Shape], threads: int
) -> tuple[float, Meter] | str:
    """Returns the seconds to load a graph and the memory of running it; a failure in words."""
    try:
        with metered() as meter:
            loading_s = load_and_run(graph, texts, shapes, threads)
    except ValueError as error:
        return str(error)
    return loading_s, meter


def runtime_of(_: Reporter) -> tuple[str, tuple[str, ...]]:
    """Returns ONNX Runtime's version and the names of its providers."""
    import onnxruntime

    return onnxruntime.__version__, tuple(onnxruntime.get_available_providers())
