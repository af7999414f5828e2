"""Which files of a hub model a conversion needs."""

import unicodedata
from collections.abc import Collection
from pathlib import Path

from embconvert.errors import SourceError
from embconvert.hub.cache import needed_files
from embconvert.request.records import Request
from embconvert.source.adapters.files import own_place, own_places
from embconvert.source.settings.routes import read_modules, read_router, router_files


def wanted_files(
    request: Request, folder: Path, files: Collection[str], *, adapter_only: bool
) -> list[str]:
    """Returns the names of the files to fetch, in order.

    Args:
        folder: Has those that name others: modules.json, and that of a router.
        files: All names of the model.
        adapter_only: Whether only its adapter is needed.

    Raises:
        SourceError: On some file systems, two of them are the same file.
    """
    own = own_places(files)
    places = [own_place(choice.name, own) for choice in request.adapter]
    names = sorted(
        {
            name
            for chain in _chains(request, folder)
            for name in needed_files(
                files,
                chain,
                python=request.trust_remote_code,
                adapters=[place for place in places if place is not None],
                adapter_only=adapter_only,
            )
        }
        | set(router_files(read_modules(folder))) & set(files)
    )
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


def _chains(request: Request, folder: Path) -> list[list[str]]:
    """Returns the modules' folders, the transformer's first; for each route that is needed."""
    modules = read_modules(folder)
    router = read_router(folder, modules)
    if router is None:
        return [[module.path for module in modules]]
    names = (request.route,) if request.route in router.names else router.names
    return [[module.path for module in router.chains[name]] for name in names]
