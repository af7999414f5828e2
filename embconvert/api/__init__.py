"""The Python API: `from embconvert import convert, evaluate, verify`.

The work runs in a process of its own, because a conversion sets environment variables, handles
signals and blocks connections, none of which the caller's process should notice.
"""

import os
from collections.abc import Callable

# `Unpack` gives type checkers and editors the names and types of the options.
from typing import Unpack

from embconvert.api.options import (
    ConvertOptions,
    EvaluateOptions,
    VerifyOptions,
    conversion_request,
    evaluate_request,
    verify_request,
)
from embconvert.api.results import Conversion, EvaluationResult, Verification, in_folder
from embconvert.api.runner import Runner
from embconvert.console import Progress, Relay

__all__ = [
    "Conversion",
    "ConvertOptions",
    "EvaluateOptions",
    "EvaluationResult",
    "Progress",
    "Verification",
    "VerifyOptions",
    "convert",
    "evaluate",
    "verify",
]


def convert(
    model_id: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], object] | None = None,
    **options: Unpack[ConvertOptions],
) -> Conversion:
    """Converts a model, as `embconvert all` does; up-to-date files are reused.

    Blocks until the folder is published. May be called in any thread, and several times at once.

    Args:
        model_id: Hub id (org/name) or local folder of the model.
        progress: Called in this thread with what happens. An exception that it raises ends the
            conversion, and is raised here.
        options: The options of `embconvert all`, except those of its output. None and omitted
            options have the command's default.

    Raises:
        EmbconvertError: The conversion failed. `embconvert.errors` has one class per exit code of
            the command line; messages name options as the command line does.
        TypeError: An option is unknown.
        RuntimeError: A bug in embconvert; the message is its traceback.
    """
    console = Relay(progress)
    request = conversion_request(model_id, options, console.say)
    with Runner(console, relays=True) as runner:
        made = runner.convert(request)
    return Conversion(folder=made.folder.absolute(), manifests=made.manifests)


def verify(
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], object] | None = None,
    **options: Unpack[VerifyOptions],
) -> Verification:
    """Checks a published folder, as `embconvert verify` does; changes nothing in it.

    Args:
        folder: A folder published by embconvert.
        progress: As for convert().
        options: The options of `embconvert verify`, except those of its output.

    Raises:
        FidelityError: A graph does not run, or is less similar to the source than it was.
        EmbconvertError: A file is missing or changed, or the source is unavailable.
        TypeError: An option is unknown.
        RuntimeError: A bug in embconvert; the message is its traceback.
    """
    console = Relay(progress)
    request = verify_request(folder, options, console.say)
    with Runner(console, relays=True) as runner:
        checked = runner.verify(request)
    graphs = in_folder({route: {g.record.path: g for g in each} for route, each in checked.items()})
    return Verification(folder=request.folder.absolute(), against=request.against, graphs=graphs)


def evaluate(
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[Progress], object] | None = None,
    **options: Unpack[EvaluateOptions],
) -> EvaluationResult:
    """Compares the graphs of a published folder on your data, as `embconvert evaluate` does.

    Args:
        folder: A folder published by embconvert; results are written to it, or to `output`.
        progress: As for convert().
        options: The options of `embconvert evaluate`, except those of its output; `data` must be
            given.

    Raises:
        UsageError: The data is missing or bad.
        EmbconvertError: The folder is damaged, a graph does not run, or the results cannot be
            written.
        TypeError: An option is unknown.
        RuntimeError: A bug in embconvert; the message is its traceback.
    """
    console = Relay(progress)
    request = evaluate_request(folder, options, console.say)
    with Runner(console, relays=True) as runner:
        ((where, evaluation),) = runner.evaluate(request).items()
    return EvaluationResult(folder=where.absolute(), evaluation=evaluation)
