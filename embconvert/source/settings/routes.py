"""Reads a router (sentence-transformers' Router, once Asym): the modules of each of its routes."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.json_files import read_any_json, read_json
from embconvert.models.routes import (
    MAX_ROUTES,
    USUAL_TASKS,
    Route,
    RoutedChain,
    RouteKey,
    is_route_name,
)
from embconvert.models.suggestions import unknown_value
from embconvert.overriding import override
from embconvert.source.settings.module_list import TRANSFORMERS, ModuleEntry, listed, parse_modules
from embconvert.source.settings.modules import ROUTER, ROUTER_FILE
from embconvert.source.settings.rules import filtered

_ROUTERS = ("Router", "Asym")
#: The settings file of Asym.
_OLD_FILE = "config.json"
_MAX_KEY = 300
_TEXT = "text"
_OTHER_MODALITIES = frozenset({"image", "audio", "video", "message"})
_AGAIN = "download the model again"


class SeveralRoutes(UsageError):  # noqa: N818 - no route was chosen yet
    """The model has routes, and none was chosen.

    Attributes:
        names: Of the routes for texts.
        left_out: Names of the routes that no text takes.
    """

    def __init__(
        self, names: tuple[str, ...], left_out: tuple[str, ...], revision: str | None
    ) -> None:
        super().__init__(
            f"the model has several routes: {', '.join(names)}", f"add --route {names[0]}"
        )
        self.names = names
        self.left_out = left_out
        self.revision = revision

    @override
    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...], tuple[str, ...], str | None]]:
        return type(self), (self.names, self.left_out, self.revision)


@dataclass(frozen=True, kw_only=True)
class Router:
    """A model's modules by route.

    Attributes:
        chains: By route, all of the model's modules that embed its texts, in order.
        first: Number of a route's first module that is inside the router.
        own: By route, how many of its modules are.
        keys: The router's mappings, each with its route.
    """

    file: str
    chains: Mapping[str, tuple[ModuleEntry, ...]]
    first: int
    own: Mapping[str, int]
    keys: Mapping[RouteKey, str]
    default: str | None

    def route_for(self, task: str | None) -> str | None:
        """Returns the route of a text; None if sentence-transformers refuses the task.

        Source: sentence_transformers.base.modules.router.Router._resolve_route_name (6.2).
        """
        for key in ((task, _TEXT), (task, None), (None, _TEXT), (None, None)):
            if key in self.keys:
                return self.keys[key]
        if task is not None and task in self.chains:
            return task
        if _TEXT in self.chains:
            return _TEXT
        return self.default if task is None else None

    def tasks_of(self, name: str) -> tuple[str, ...]:
        """Returns the tasks that lead to a route."""
        known = [*USUAL_TASKS, *self.chains, *(task for task, _ in self.keys if task)]
        tasks = [task for task in dict.fromkeys(known) if task not in _OTHER_MODALITIES]
        return tuple(task for task in tasks if self.route_for(task) == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The routes that a text can take, those of queries and documents first."""
        found = [n for n in self.chains if self.tasks_of(n) or self.route_for(None) == n]
        usual = [self.route_for(task) for task in USUAL_TASKS]
        return tuple(sorted(found, key=lambda n: usual.index(n) if n in usual else len(usual)))

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(name for name in self.chains if name not in self.names)

    def chosen(self, name: str) -> RoutedChain:
        """Returns the facts of a route; raises UsageError if there is none for texts."""
        if name not in self.chains:
            raise unknown_value("--route", name, self.names)
        if name not in self.names:
            raise UsageError(
                f"no text takes the route {name}", f"--route can be {', '.join(self.names)}"
            )
        modules = self.chains[name]
        route = Route(
            name=name,
            tasks=self.tasks_of(name),
            is_default=self.route_for(None) == name,
            others=tuple(other for other in self.names if other != name),
        )
        return RoutedChain(
            route=route,
            file=self.file,
            first=self.first,
            last=self.first + self.own[name],
            keys=tuple(key for key, target in self.keys.items() if target == name),
            place=modules[0].path,
            chain=tuple(
                {**module.entry, **ours}
                for module, ours in zip(modules, listed(modules), strict=True)
            ),
        )


def read_modules(folder: Path) -> tuple[ModuleEntry, ...]:
    """Reads modules.json; () if there is none. Raises as parse_modules."""
    path = folder / "modules.json"
    return parse_modules(read_any_json(path)) if path.exists() else ()


def router_place(modules: Sequence[ModuleEntry]) -> int | None:
    """Returns the number of the router among a model's modules; None if there is none.

    Raises UnsupportedModelError if there are two.
    """
    found = [i for i, m in enumerate(modules) if m.is_own and m.name in _ROUTERS]
    if len(found) > 1:
        raise UnsupportedModelError(
            "modules.json has two routers, which embconvert does not combine",
            "use a model with one router",
        )
    return found[0] if found else None


def router_files(modules: Sequence[ModuleEntry]) -> tuple[str, ...]:
    """Returns the paths that the router's settings may have, in the library's order."""
    place = router_place(modules)
    if place is None:
        return ()
    folder = f"{modules[place].path}/" if modules[place].path else ""
    return folder + ROUTER_FILE, folder + _OLD_FILE


def read_router(folder: Path, modules: Sequence[ModuleEntry]) -> Router | None:
    """Reads the router of a model; None if it has none.

    Raises SourceError if its settings are missing, broken or name folders elsewhere, and
    UnsupportedModelError for two routers, or one inside the other.
    """
    place = router_place(modules)
    if place is None:
        return None
    files = [file for file in router_files(modules) if (folder / file).is_file()]
    if not files:
        raise SourceError(f"{router_files(modules)[0]} is missing", _AGAIN)
    said = filtered(read_json(folder / files[0]), ROUTER, files[0]).value
    parts = _parts(modules[place], said.get("types") or {}, files[0])
    own = _structure(said.get("structure") or {}, parts, files[0])
    parameters = said.get("parameters") or {}
    default = parameters.get("default_route")
    if default is None and parameters.get("allow_empty_key") in (None, True):
        default = next(iter(own))
    keys = _keys(parameters.get("route_mappings") or {}, files[0])
    for target in {*keys.values(), *([] if default is None else [default])}:
        if target not in own:
            raise SourceError(f"{files[0]} names the route {target!r}, which it lacks", _AGAIN)
    before, after = modules[:place], modules[place + 1 :]
    chains = {name: (*before, *inside, *after) for name, inside in own.items()}
    if not all(chains.values()):
        raise SourceError(f"{files[0]} has a route without modules", _AGAIN)
    return Router(
        file=files[0],
        chains=chains,
        first=place,
        own={name: len(inside) for name, inside in own.items()},
        keys=keys,
        default=default,
    )


def _parts(router: ModuleEntry, types: Mapping[str, str], file: str) -> dict[str, ModuleEntry]:
    """Returns the modules inside a router by their names, which are names of folders in its own.

    A transformer may have no name: its files are in the router's own folder.
    """
    for name, kind in types.items():
        if not name and kind.rpartition(".")[2] in TRANSFORMERS:
            continue
        if not name or "/" in name or "\\" in name or name in (".", ".."):
            raise SourceError(
                f"{file} has the module {name[:100]!r}, which is not the name of a folder",
                "do not use this model; it accesses files outside its folder",
            )
    paths = {name: "/".join(filter(None, (router.path, name))) for name in types}
    found = parse_modules([{"path": paths[n], "type": kind} for n, kind in types.items()], file)
    if router_place(found) is not None:
        raise UnsupportedModelError(
            f"{file} has a router inside the router, which is not supported",
            "use a model with one router",
        )
    return dict(zip(types, (replace(entry, entry={}) for entry in found), strict=True))


def _structure(
    structure: Mapping[str, Sequence[str]], parts: Mapping[str, ModuleEntry], file: str
) -> dict[str, tuple[ModuleEntry, ...]]:
    """Returns the modules of each route inside the router."""
    if not 0 < len(structure) <= MAX_ROUTES:
        raise SourceError(
            f"{file} has {len(structure)} routes; a router has 1 to {MAX_ROUTES}", _AGAIN
        )
    found: dict[str, tuple[ModuleEntry, ...]] = {}
    for name, ids in structure.items():
        if not is_route_name(name):
            raise SourceError(
                f"{file} has the route {name[:100]!r}, which cannot be the name of a folder",
                "rename it in a copy: letters, digits, _ and -",
            )
        if name.casefold() in map(str.casefold, found):
            raise SourceError(
                f"{file} has routes that differ only in case: {name}",
                "rename one of them in a copy",
            )
        missing = [part for part in ids if part not in parts]
        if missing:
            raise SourceError(f"{file} does not say what the module {missing[0]!r} is", _AGAIN)
        found[name] = tuple(parts[part] for part in ids)
    return found


def _keys(mappings: Mapping[str, str], file: str) -> dict[RouteKey, str]:
    """Parses the router's mappings, whose keys are Python's words for (task, modality)."""
    return {_key(words, file): route for words, route in mappings.items()}


def _key(words: str, file: str) -> RouteKey:
    key: object = None
    if len(words) <= _MAX_KEY:
        try:
            key = ast.literal_eval(words)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            key = None
    if isinstance(key, tuple) and len(key) == 2:
        task, modality = key
        several = isinstance(modality, tuple) and all(isinstance(m, str) for m in modality)
        if (task is None or (isinstance(task, str) and task.isprintable())) and (
            modality is None or isinstance(modality, str) or several
        ):
            return task, tuple(sorted(modality)) if isinstance(modality, tuple) else modality
    raise SourceError(f"{file}: {words[:100]!r} is not a pair of task and modality", _AGAIN)
