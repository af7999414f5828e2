"""Computes outputs for an evaluation: with graphs in workers, or with the source."""

from collections.abc import Callable, Sequence

from embconvert.errors import SourceError
from embconvert.evaluation.running import GraphRunner
from embconvert.evaluation.scoring import Row, scoring_for
from embconvert.fidelity.texts import Item, batches, joined
from embconvert.pipeline.evaluation_tasks import open_graph, rows_of_graph
from embconvert.pipeline.source_process import SourceProcess
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import Work, Worker
from embconvert.processes.workers import Workers

# About as many characters as a batch of 2048 tokens has.
_BATCH_CHARACTERS = 8192


class GraphRows:
    """Computes with a graph, in a worker that is started when it is needed.

    Args:
        make: Opens the graph in the worker; picklable.
        name: Of the graph, for errors.
    """

    def __init__(
        self, make: Callable[[], GraphRunner], size_bytes: int, name: str, workers: Workers
    ) -> None:
        self._make = make
        self._size_bytes = size_bytes
        self._name = name
        self._workers = workers
        self._worker: Worker | None = None

    def rows(self, items: Sequence[Item]) -> Work[list[Row]]:
        """Returns the packed output of each input."""
        try:
            if self._worker is None:
                self._worker = self._workers.take(self._size_bytes)
                yield self._worker.begin(open_graph, self._make)
            rows: list[Row] = yield self._worker.begin(rows_of_graph, items)
        except WorkerCrashed as crash:
            raise SourceError(f"{self._name} cannot be evaluated: {crash}", crash.hint) from crash
        return rows

    def end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class SourceRows:
    """Computes with the source, which is loaded when it is needed."""

    def __init__(self, source: SourceProcess) -> None:
        self._source = source

    def rows(self, items: Sequence[Item]) -> Work[list[Row]]:
        """Returns the packed output of each input."""
        if self._source.loaded is None:
            yield from self._source.load()
        lengths = [len("".join(joined(item))) for item in items]
        groups = batches(lengths, tokens=_BATCH_CHARACTERS)
        parts = yield from self._source.embed_batches(items, groups)
        scoring = scoring_for(self._source.kind)
        rows = [Row()] * len(items)
        for group, part in zip(groups, parts, strict=True):
            for index, row in zip(group, scoring.pack(part), strict=True):
                rows[index] = row
        return rows

    def end(self) -> None:
        """Ends the source's process."""
        self._source.end()
