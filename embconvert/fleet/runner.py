"""A process that converts one model after another.

What a conversion leaves behind in its process, and a library that takes the process down, then
reach neither the batch nor the next model; and what every conversion imports is imported once.
"""

import functools

from embconvert.console import Console
from embconvert.pipeline.convert import convert
from embconvert.processes.signals import ending_in_order
from embconvert.processes.workers import Reporter, Worker, WorkerCrashed
from embconvert.processes.zygote import Zygotes
from embconvert.request.records import Request

_LIBRARIES = ("embconvert.fleet.runner", "huggingface_hub", "tokenizers")


def convert_model(reporter: Reporter, request: Request) -> None:
    """Runs a request in this process; a signal lets it clean up."""
    del reporter
    with ending_in_order():
        # Code that comes with a model gets processes that no other model sees.
        convert(request, None if request.trust_remote_code else _zygotes_of(request.debug))


@functools.cache
def _zygotes_of(debug: bool) -> Zygotes:
    return Zygotes(debug=debug)


class Runner:
    """Converts models in a process of its own, and in a new one after a crash.

    A context manager that ends it; what it was doing leaves nothing behind.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._worker: Worker | None = None

    def convert(self, request: Request) -> None:
        """Runs a request.

        Raises:
            EmbconvertError: It failed.
            WorkerCrashed: The process ended.
            RuntimeError: A bug; the message is its traceback.
        """
        if self._worker is None:
            self._worker = Worker(self._console, _LIBRARIES, has_children=True)
        try:
            self._worker.call(convert_model, request)
        except WorkerCrashed:
            self._worker = None
            raise

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.stop()
