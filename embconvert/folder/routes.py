"""The folders of an asymmetric model's routes, which are inside the model's folder."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from embconvert.folder.published import read_manifest
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.models.routes import in_usual_order, is_route_name


def published_routes(folder: Path) -> dict[str, Manifest]:
    """Returns the manifests of the routes that are published in a model's folder, by name.

    It has none if it is itself published. Folders with broken manifests are left out.
    """
    found: dict[str, Manifest] = {}
    try:
        if (folder / MANIFEST_FILE).exists():
            return {}
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError:
        return {}
    for name in filter(is_route_name, names):
        with contextlib.suppress(ValueError):
            manifest = read_manifest(folder / name)
            route = manifest.source.route if manifest is not None else None
            if manifest is not None and route is not None and route.name == name:
                found[name] = manifest
    return {name: found[name] for name in in_usual_order(found)}


def missing_routes(routes: Mapping[str, Manifest]) -> tuple[str, ...]:
    """Returns the names of the source's routes that are not published."""
    known = [
        name
        for manifest in routes.values()
        for name in (manifest.source.route.others if manifest.source.route else ())
    ]
    return tuple(name for name in dict.fromkeys(known) if name not in routes)


def mixture(routes: Mapping[str, Manifest]) -> str | None:
    """Returns, in words, why the vectors of routes may not fit together; None if they do."""
    names = list(routes)
    for name in names[1:]:
        first, other = routes[names[0]].source, routes[name].source
        pair = f"the routes {names[0]} and {name}"
        if (first.model_id, first.revision) != (other.model_id, other.revision):
            return f"{pair} are from different sources or revisions"
        known = {file.path: file.sha256 for file in first.files}
        for file in other.files:
            if known.get(file.path, file.sha256) != file.sha256:
                return f"{pair} are from different states of the source: {file.path} differs"
        if first.overrides != other.overrides:
            return f"{pair} were converted with different options"
    return None
