"""Runs a conversion for the command line, whose first child process starts before most imports."""

from embconvert.console import Console
from embconvert.pipeline.early_process import start_early
from embconvert.processes.workers import Workers
from embconvert.request.records import Finished, Request


def convert(request: Request) -> Finished:
    """Runs a request for the command line; see pipeline.convert."""
    console = Console(quiet=request.quiet, debug=request.debug)
    with Workers(console, graph_seconds=request.max_graph_seconds) as workers:
        if not request.dry_run:
            start_early(request, workers)
        from embconvert.pipeline.convert import convert as run

        return run(request, console, workers)
