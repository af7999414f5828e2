"""Runs the commands `export`, `optimize`, `quantize` and `all`."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import EmbconvertError, UsageError
from embconvert.fidelity.texts import calibration_texts
from embconvert.folder.disk import output_errors
from embconvert.folder.staging import Staging
from embconvert.manifest import CARD_FILE, Manifest
from embconvert.models.json_records import as_json
from embconvert.pipeline.early_process import start_early
from embconvert.pipeline.prepare import prepare, warn_of_memory
from embconvert.pipeline.route_folders import joined, note_published
from embconvert.processes.workers import Workers
from embconvert.processes.zygote import Zygotes
from embconvert.request.places import output_folder
from embconvert.request.records import Finished, Request
from embconvert.source.device import check_device
from embconvert.source.kind import settle_kind
from embconvert.source.settings.routes import SeveralRoutes

if TYPE_CHECKING:
    from embconvert.pipeline.run import Unpublished


_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a run published.

    Attributes:
        manifests: The manifest of each route, whose folder has its name; "" for a model without
            routes, and for a run of one route, whose folder it is.
    """

    folder: Path
    manifests: Mapping[str, Manifest]


def convert(request: Request, console: Console, workers: Workers) -> Finished:
    """Runs a request for the command line.

    Args:
        workers: For the child processes, some of which may have been started.

    Returns:
        For stdout the output folder's path; with `json` the manifest; with `dry_run` the plan and
        its jobs. With several routes, the path of the folder that has theirs, and JSON by route.

    Raises:
        EmbconvertError: The conversion failed; what is published is unchanged.
    """
    if request.dry_run:
        texts = _by_route(request, console, partial(_plans, console=console))
    else:
        start = time.monotonic()
        made = _all_routes(request, console, workers)
        from embconvert.pipeline.publishing import next_step

        then = next_step(request, made.folder, made.manifests.values())
        console.say(f"code that loads it: {made.folder / CARD_FILE}")
        console.say(f"done in {time.monotonic() - start:.0f} s; next: {then}")
        if not request.json:
            return Finished(text=str(made.folder))
        texts = {name: json.dumps(as_json(m), indent=2) for name, m in made.manifests.items()}
    if "" in texts:
        return Finished(text=texts[""])
    if request.json:
        return joined({name: Finished(text=text) for name, text in texts.items()}, as_json=True)
    return Finished(text="\n\n".join(texts.values()))


def convert_model(request: Request, console: Console, zygotes: Zygotes | None = None) -> Converted:
    """Runs a request; with many models, workers are forked from `zygotes`.

    Raises EmbconvertError if it fails; what is published is unchanged.
    """
    seconds = request.max_graph_seconds
    with Workers(console, zygotes=zygotes, graph_seconds=seconds) as workers:
        return _all_routes(request, console, workers)


def _all_routes(request: Request, console: Console, workers: Workers) -> Converted:
    run = partial(_convert, console=console, workers=workers)
    manifests = _by_route(request, console, run)
    return Converted(folder=output_folder(request), manifests=manifests)


def _by_route(
    request: Request, console: Console, run: Callable[[Sequence[Request], str], Sequence[_Result]]
) -> dict[str, _Result]:
    """Runs a request, or one for each route, with the digest of the calibration texts."""
    output_folder(request)
    digest = calibration_texts(request.calibration_dataset).digest
    check_device(request.device)
    try:
        return {"": run([request], digest)[0]}
    except SeveralRoutes as found:
        requests = _of_routes(request, found, console)
    results = run(requests, digest)
    return {one.route or "": result for one, result in zip(requests, results, strict=True)}


def _of_routes(request: Request, found: SeveralRoutes, console: Console) -> list[Request]:
    """Returns a request for each route, all of the same revision of the source."""
    if request.model_path is not None:
        raise UsageError(
            f"--model_path is the graph of one route, but the model has {', '.join(found.names)}",
            f"add --route {found.names[0]}",
        )
    console.say(f"routes: {', '.join(found.names)}; each is published in a folder of its own")
    if found.left_out:
        console.warn(f"not converted, because no text takes them: {', '.join(found.left_out)}")
    revision = found.revision or request.revision
    requests = [replace(request, route=name, revision=revision) for name in found.names]
    for one in requests:  # what cannot be converted is refused before work starts
        with _naming_route(one, found.names):
            settle_kind(one, hub.resolve(one, Console(quiet=True, debug=request.debug)))
    return requests


def _plans(requests: Sequence[Request], calibration_digest: str, console: Console) -> list[str]:
    """Returns what runs would do."""
    # Not needed by a conversion, whose source's process should start early.
    from embconvert.pipeline.dry_run import dry_run

    plans = []
    for request in requests:
        target = output_folder(request)
        prepared = prepare(request, target, calibration_digest, console)
        plans.append(dry_run(prepared, target, console))
    return plans


def _convert(
    requests: Sequence[Request], calibration_digest: str, console: Console, workers: Workers
) -> Sequence[Manifest]:
    """Runs requests, publishes all results together, and returns their manifests.

    Raises:
        EmbconvertError: A run failed. If only single files failed, the others are published, unless
            that would take away what was there.
    """
    targets = [output_folder(request) for request in requests]
    with contextlib.ExitStack() as stack:
        made = []
        for request, target in zip(requests, targets, strict=True):
            if len(requests) > 1:
                console.say(f"route {request.route}")
            staging = stack.enter_context(Staging(target, console.say))
            with _naming_route(request):
                made.append(_made(request, calibration_digest, staging, workers, console))
        from embconvert.pipeline.run import publish

        try:
            return publish(made, console)
        finally:
            if requests[0].route is not None:
                note_published(targets[0].parent, made[0].prepared.resolved, console)


def _made(
    request: Request,
    calibration_digest: str,
    staging: Staging,
    workers: Workers,
    console: Console,
) -> "Unpublished":
    """Makes the files of a request in a staging folder."""
    target = staging.target
    if target.exists():  # by another run, for which Staging waited
        workers.drop_for_source()
    start_early(request, workers)
    # Imported here, while the child processes import their libraries.
    from embconvert.pipeline.run import execute

    # Not earlier: another run, for which Staging waited, may have published.
    prepared = prepare(request, target, calibration_digest, console)
    for remark in prepared.plan.remarks:
        console.say(remark)
    warn_of_memory(prepared.plan, console)
    with output_errors(target):
        return execute(prepared, staging, workers, console)


@contextlib.contextmanager
def _naming_route(request: Request, names: Sequence[str] = ()) -> Iterator[None]:
    """Names the route in an error, and in its hint the others, which may do without it."""
    try:
        yield
    except EmbconvertError as error:
        if request.route is not None and not isinstance(error, UsageError):
            others = [f"--route {name}" for name in names if name != request.route]
            if others:
                error.hint += f"; or convert another route only: {' or '.join(others)}"
            error.message = f"route {request.route}: {error.message}"
            error.args = (error.message, error.hint)  # which are what is pickled
        raise
