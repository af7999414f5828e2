"""`embconvert list`: the finished models below a folder."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.folder.published import is_whole, read_manifest
from embconvert.manifest import MANIFEST_FILE, ArtifactRecord, Manifest
from embconvert.models.json_records import as_json
from embconvert.plan.reuse import versions
from embconvert.reporting.table import kept_cell, size_cell, speed_cell
from embconvert.request.records import Finished, ListRequest
from embconvert.tables import Column

#: Folders below the one that is listed: organization, model and route, and two around them.
_DEEPEST = 5
_COLUMNS = (
    Column(title="model"),
    Column(title="file", is_word=True),
    Column(title="size"),
    Column(title="mean similarity", rank=1),
    Column(title="top 10 kept", rank=3),
    Column(title="speed", rank=2),
    Column(title="state", is_sentence=True),
)
_UP_TO_DATE = "up to date"


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A folder that embconvert published.

    Attributes:
        manifest: None if it cannot be read.
        state: `up to date`, or what is wrong with it.
    """

    folder: str
    manifest: Manifest | None
    state: str


def list_models(request: ListRequest) -> Finished:
    """Lists the models below a folder; nothing is hashed, and no network is used.

    Returns the folders, one per line, or JSON; the table goes to stderr. Raises UsageError if there
    is no such folder.
    """
    if not request.folder.is_dir():
        raise UsageError(
            f"there is no folder {request.folder}",
            "give the folder in which the models were published, for example models",
        )
    console = Console(quiet=False, debug=request.debug)
    models = [_listed(folder, request.folder) for folder in _published(request.folder, console)]
    if request.json:
        return Finished(text=json.dumps([_as_json(model) for model in models], indent=2))
    if models:
        own = request.folder.resolve().name
        rows = [row for model in models for row in _rows(model, own)]
        console.table(f"models in {request.folder}: {len(models)}", _COLUMNS, rows)
    else:
        console.say(f"{request.folder} contains no folder published by embconvert")
    return Finished(text="\n".join(str(request.folder / model.folder) for model in models))


def _published(top: Path, console: Console) -> Iterator[Path]:
    """Yields the folders with a manifest, in order; follows no links, enters no hidden folder."""

    def tell(error: OSError) -> None:
        console.warn(f"{error.filename} cannot be read: {error.strerror}")

    for folder, inside, files in os.walk(top, onerror=tell):
        path = Path(folder)
        if MANIFEST_FILE in files:
            inside.clear()
            yield path
        elif len(path.relative_to(top).parts) >= _DEEPEST:
            inside.clear()
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def _listed(folder: Path, top: Path) -> ListedModel:
    name = folder.relative_to(top).as_posix()
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        reason = str(error).removeprefix(f"{folder / MANIFEST_FILE}: ")
        return ListedModel(folder=name, manifest=None, state=f"unreadable manifest: {reason}")
    assert manifest is not None
    return ListedModel(folder=name, manifest=manifest, state=_state(folder, manifest))


def _state(folder: Path, manifest: Manifest) -> str:
    if not is_whole(folder, manifest, contents=False):
        return "damaged: a file is missing or has another size"
    made_with = {**manifest.stack, "embconvert": manifest.tool.version}
    older = [name for name, version in versions().items() if made_with.get(name) != version]
    if older:
        return f"made with another version of {', '.join(older)}"
    return "not verified" if manifest.verification.skipped else _UP_TO_DATE


def _rows(model: ListedModel, own: str) -> Iterator[list[str]]:
    """Yields a row for each graph.

    Args:
        own: Name of the folder that was asked for.
    """
    name, state = own if model.folder == "." else model.folder, model.state
    graphs = model.manifest.artifacts if model.manifest else ()
    if not graphs:
        yield [name, *["-"] * (len(_COLUMNS) - 2), state]
    best = model.manifest.recommended if model.manifest else None
    speeds = model.manifest.speeds if model.manifest else None
    for graph in graphs:
        figures = graph.fidelity
        yield [
            name,
            graph.path + (" (recommended)" if best and best.path == graph.path else ""),
            size_cell(graph),
            f"{figures.similarity.mean:.5f}" if figures else "-",
            kept_cell(figures),
            speed_cell(graph, speeds.of(graph.path) if speeds else None),
            state,
        ]
        name = state = ""


def _as_json(model: ListedModel) -> dict[str, Any]:
    """Returns a model as plain JSON values; `figures` and `speeds` are as in its manifest."""
    manifest = model.manifest
    common = {"folder": model.folder, "state": model.state}
    if manifest is None:
        return common
    best = manifest.recommended
    return common | {
        "model_id": manifest.source.model_id,
        "revision": manifest.source.revision,
        "kind": str(manifest.kind),
        "layout": str(manifest.layout),
        "recommended": best.path if best else None,
        "speeds": as_json(manifest.speeds) if manifest.speeds else None,
        "files": [_file_as_json(graph) for graph in manifest.artifacts],
    }


def _file_as_json(graph: ArtifactRecord) -> dict[str, Any]:
    return {
        "path": graph.path,
        "precision": str(graph.precision),
        "size_bytes": graph.total_size_bytes,
        "figures": as_json(graph.fidelity) if graph.fidelity else None,
    }
