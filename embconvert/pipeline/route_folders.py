"""What commands do with the folder of an asymmetric model, which has a folder for each route."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from embconvert.console import Console
from embconvert.errors import SourceError
from embconvert.folder.disk import output_errors
from embconvert.folder.routes import missing_routes, mixture, published_routes
from embconvert.graph.streams import hash_file
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, Manifest
from embconvert.models.values import ResolvedModel
from embconvert.reporting.routes_card import write_routes_card
from embconvert.request.records import Finished, PushRequest, ReportRequest, VerifyRequest

R = TypeVar("R", VerifyRequest, PushRequest, ReportRequest)

_AGAIN = "convert the model without --route, which publishes all routes together"


def note_published(folder: Path, source: ResolvedModel, console: Console) -> None:
    """Writes the card of a model's folder after routes were published; says what doesn't fit."""
    routes = published_routes(folder)
    if (folder / MANIFEST_FILE).exists():
        console.warn(
            f"{folder} also has a conversion without routes, from an earlier source; remove it, "
            "except the folders of the routes"
        )
    if not routes:
        return
    problem = mixture(routes) or _outdated(routes, source)
    if problem is not None:
        console.warn(f"{folder}: {problem}; {_AGAIN}")
    missing = missing_routes(routes)
    if missing:
        console.say(f"{folder} lacks the source's other routes: {', '.join(missing)}")
    with output_errors(folder):
        if not write_routes_card(routes, folder):
            console.say(f"{folder / CARD_FILE} was changed by you and is kept")


def _outdated(routes: Mapping[str, Manifest], source: ResolvedModel) -> str | None:
    """Returns, in words, which route is of an earlier state of a local source; None if none is."""
    for name, manifest in routes.items():
        if source.revision is not None or manifest.source.digest == source.digest:
            continue
        for file in manifest.source.files:
            path = source.folder / file.path
            if not path.is_file() or hash_file(path) != file.sha256:
                return f"the route {name} is of another state of the source: {file.path} differs"
    return None


def routes_to_check(folder: Path, console: Console) -> tuple[str, ...]:
    """Returns the routes in a model's folder, if any; raises SourceError if they do not fit."""
    routes = published_routes(folder)
    problem = mixture(routes)
    if problem is not None:
        raise SourceError(f"{folder}: {problem}", _AGAIN)
    missing = missing_routes(routes)
    # A folder without a readable manifest is damaged, which its own check says.
    damaged = [name for name in missing if (folder / name).is_dir()]
    absent = [name for name in missing if name not in damaged]
    if absent:
        console.warn(f"{folder} lacks the source's other routes: {', '.join(absent)}")
    return (*routes, *damaged)


def for_each_route(
    request: R, routes: tuple[str, ...], run: Callable[[R], Finished]
) -> dict[str, Finished]:
    """Runs a command on the folder of each route; returns the results by route."""
    return {name: run(replace(request, folder=request.folder / name)) for name in routes}


def joined(results: dict[str, Finished], *, as_json: bool = False) -> Finished:
    """Returns the results of all routes as one."""
    if as_json:
        parts = {name: json.loads(result.text) for name, result in results.items()}
        return Finished(text=json.dumps({"routes": parts}, indent=2))
    lines = [
        f"{name}: {line}" for name, result in results.items() for line in result.text.splitlines()
    ]
    return Finished(text="\n".join(lines))
