"""A child process that converts and verifies models, one after another.

A crash of a library ends only this process, not the caller, and what every conversion imports is
imported once.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embconvert.console import Console, Relay, show_library_messages
from embconvert.errors import EmbconvertError
from embconvert.evaluation.records import Evaluation
from embconvert.pipeline.convert import Converted, convert_model
from embconvert.pipeline.evaluate_folder import evaluate_folders
from embconvert.pipeline.verify_folder import CheckedGraph, verify_folder
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.limits import adjust_limits, limit_error, refuse_missing_working_directory
from embconvert.processes.signals import ending_in_order
from embconvert.processes.worker import Reporter, Worker
from embconvert.processes.zygote import Zygotes
from embconvert.request.records import EvaluateRequest, Request, VerifyRequest

_LIBRARIES = ("embconvert.api.runner", "huggingface_hub", "tokenizers")


def _convert(reporter: Reporter, request: Request, *, relays: bool) -> Converted:
    """Runs a request in this process; cleans up after a signal."""
    with ending_in_order():
        adjust_limits()
        # A model's own code runs in processes that no other model uses.
        zygotes = None if request.trust_remote_code else _zygotes_of(request.debug)
        return convert_model(request, _console(reporter, request, relays=relays), zygotes)


def _verify(
    reporter: Reporter, request: VerifyRequest, *, relays: bool
) -> Mapping[str, Sequence[CheckedGraph]]:
    with ending_in_order():
        adjust_limits()
        return verify_folder(request, _console(reporter, request, relays=relays))


def _evaluate(
    reporter: Reporter, request: EvaluateRequest, *, relays: bool
) -> Mapping[Path, Evaluation]:
    with ending_in_order():
        adjust_limits()
        return evaluate_folders(request, _console(reporter, request, relays=relays))


def _console(
    reporter: Reporter, request: Request | VerifyRequest | EvaluateRequest, *, relays: bool
) -> Console:
    show_library_messages(request.debug)
    if relays:
        return Relay(reporter.tell)
    return Console(quiet=request.quiet, debug=request.debug)


@functools.cache
def _zygotes_of(debug: bool) -> Zygotes:
    return Zygotes(debug=debug)


class Runner:
    """Works in a child process, and in a new one after a crash.

    A context manager that ends the process, which cleans up first.

    Args:
        console: Where messages about the process go.
        relays: Also give this console the messages of the work, which the process prints
            otherwise.
    """

    def __init__(self, console: Console, *, relays: bool = False) -> None:
        self._console = console
        self._relays = relays
        self._worker: Worker | None = None

    def convert(self, request: Request) -> Converted:
        """Runs a request; raises EmbconvertError, or RuntimeError with the traceback of a bug."""
        made: Converted = self._call(_convert, request)
        return made

    def verify(self, request: VerifyRequest) -> Mapping[str, Sequence[CheckedGraph]]:
        """Checks a folder; raises as convert()."""
        checked: Mapping[str, Sequence[CheckedGraph]] = self._call(_verify, request)
        return checked

    def evaluate(self, request: EvaluateRequest) -> Mapping[Path, Evaluation]:
        """Evaluates folders; raises as convert()."""
        found: Mapping[Path, Evaluation] = self._call(_evaluate, request)
        return found

    def _call(self, task: Callable[..., Any], request: object) -> Any:
        if self._worker is None:
            self._worker = self._start()
        try:
            return self._worker.call(task, request, relays=self._relays)
        except WorkerCrashed as crash:
            self._worker = None
            raise EmbconvertError(f"the process ended: {crash}", crash.hint) from crash

    def _start(self) -> Worker:
        refuse_missing_working_directory()
        try:
            return Worker(self._console, _LIBRARIES, is_program=True, is_silent=self._relays)
        except OSError as error:
            raise limit_error(error) or error from error

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.stop()
