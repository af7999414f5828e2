"""Functions of `embconvert evaluate` that run in worker processes; see workers.Worker.call."""

from collections.abc import Callable, Sequence

from embconvert.evaluation.running import GraphRunner
from embconvert.evaluation.scoring import Row
from embconvert.fidelity.texts import Item
from embconvert.processes.worker import Reporter

#: The graph that open_graph() opened in this process.
_opened: list[GraphRunner] = []


def open_graph(_: Reporter, make: Callable[[], GraphRunner]) -> None:
    """Opens an untrusted graph."""
    _opened[:] = [make()]


def rows_of_graph(reporter: Reporter, items: Sequence[Item]) -> list[Row]:
    """Returns the packed outputs of the opened graph."""
    return _opened[0].rows(items, reporter.advance)
