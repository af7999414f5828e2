"""Which files of a hub model a conversion needs."""

import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from embconvert.errors import SourceError
from embconvert.json_files import read_json
from embconvert.manifest import CARD_FILE
from embconvert.models.adapters import ADAPTER_FILE
from embconvert.models.kinds import HEAD_FILES
from embconvert.request.records import Request
from embconvert.source.adapters.files import needed_of_adapter, own_place, own_places
from embconvert.source.folder import CLASSIFIER_SETTINGS, CONFIGURATION_FILES
from embconvert.source.settings.routes import read_modules, read_router, router_files
from embconvert.source.weights import WEIGHT_NAMES, is_index, is_weights, no_weights


def wanted_files(
    request: Request, folder: Path, files: Collection[str], *, adapter_only: bool
) -> list[str]:
    """Returns the names of the files to fetch, in order.

    Args:
        folder: Has those that name others: modules.json, that of a router, and an index of weights
            if it was fetched.
        files: All names of the model.
        adapter_only: Whether only its adapter is needed.

    Raises:
        SourceError: On some file systems, two of them are the same file; or there are no weights.
    """
    own = own_places(files)
    places = [own_place(choice.name, own) for choice in request.adapter]
    found = {
        name
        for chain in _chains(request, folder)
        for name in needed_files(
            files,
            chain,
            python=request.trust_remote_code,
            adapters=[place for place in places if place is not None],
            adapter_only=adapter_only,
        )
    } | set(router_files(read_modules(folder))) & set(files)
    if not adapter_only and not any(is_weights(n) or is_weights_index(n) for n in found):
        raise no_weights(request.model_id, files)
    names = sorted(found | _shards(folder, found) & set(files))
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise SourceError(
                f"{request.model_id} has files whose names differ only in case or accents: "
                f"{other} and {name}",
                "do not use this model",
            )
    return names


def needed_files(
    names: Iterable[str],
    module_folders: list[str],
    *,
    python: bool,
    adapters: Iterable[str] = (),
    adapter_only: bool = False,
) -> list[str]:
    """Returns the files of a repository that a conversion needs, sorted.

    No weights of other frameworks, no pickles beside safetensors, no other ONNX files. Of sharded
    weights it is the index, which names the others.

    Args:
        module_folders: The folders in modules.json, the transformer's first.
        python: Whether the model's Python code is needed.
        adapters: The folders of its adapters that are needed.
        adapter_only: Whether a model beside an adapter is not needed.
    """
    names = set(names)
    root = f"{module_folders[0]}/" if module_folders and module_folders[0] else ""
    files = (*CONFIGURATION_FILES, ADAPTER_FILE, CLASSIFIER_SETTINGS)
    wanted = {prefix + name for name in files for prefix in ("", root)} | {CARD_FILE}
    for folder in filter(None, module_folders[1:]):
        # A module of a router is inside of the router's folder.
        inside = (n for n in names if n.rpartition("/")[0] == folder)
        wanted.update(n for n in inside if n.endswith((".json", ".safetensors", ".txt")))
        safe, pickle = (f"{folder}/{single}" for single, _ in WEIGHT_NAMES)
        if safe not in names:
            wanted.add(pickle)
    own = set() if adapter_only else _weights(root, names)
    for place in (*adapters, *(() if own else {"", root.removesuffix("/")})):
        own |= needed_of_adapter(place, names)
    wanted.update(own)
    wanted.update(HEAD_FILES)
    if python:
        wanted.update(n for n in names if n.endswith(".py") and "/" not in n)
    return sorted(wanted & names)


def _weights(root: str, names: Iterable[str]) -> set[str]:
    """Returns the transformer's weight file, or the index of several; see weight_files.

    `root` is its folder, with a slash at the end; empty for the repository's.
    """
    for single, index in WEIGHT_NAMES:
        if root + single in names:
            return {root + single}
        if root + index in names:
            return {root + index}
    return set()


def is_weights_index(name: str) -> bool:
    """Whether a model's file, given by its path, is the index of sharded weights."""
    return is_index(PurePosixPath(name).name)


def _shards(folder: Path, names: Iterable[str]) -> set[str]:
    """Returns the paths of the weights that indexes name, whatever they are called."""
    found: set[str] = set()
    for name in names:
        if not is_weights_index(name) or not (folder / name).is_file():
            continue
        listed = read_json(folder / name).get("weight_map")
        inside = listed.values() if isinstance(listed, dict) else ()
        place = PurePosixPath(name).parent
        found.update(
            (place / shard).as_posix()
            for shard in inside
            if isinstance(shard, str) and "/" not in shard and is_weights(shard)
        )
    return found


def _chains(request: Request, folder: Path) -> list[list[str]]:
    """Returns the modules' folders, the transformer's first; for each route that is needed."""
    modules = read_modules(folder)
    router = read_router(folder, modules)
    if router is None:
        return [[module.path for module in modules]]
    names = (request.route,) if request.route in router.names else router.names
    return [[module.path for module in router.chains[name]] for name in names]
