"""The routes of an asymmetric model, which embeds queries and documents with different modules."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MaxLen

from embconvert.models.constraints import Matches, Name, Record

#: More would be an attack or an accident.
MAX_ROUTES = 100
#: The name of a route is also that of a folder, and a part of a repository's name.
ROUTE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
RouteName = Annotated[str, Matches(ROUTE_NAME, "letters, digits, _ and -")]

#: The tasks of encode_query() and encode_document().
USUAL_TASKS = ("query", "document")

#: Of the texts that a route embeds: a mapping's key is (task, modality); None means any.
RouteKey = tuple[str | None, str | tuple[str, ...] | None]


def is_route_name(text: str) -> bool:
    return re.fullmatch(ROUTE_NAME.strip("^$"), text) is not None


def in_usual_order(names: Iterable[str]) -> list[str]:
    """Returns names of routes, queries first, then documents."""
    usual = {name: place for place, name in enumerate(USUAL_TASKS)}
    return sorted(names, key=lambda name: (usual.get(name, len(usual)), name))


@dataclass(frozen=True, kw_only=True)
class Route(Record):
    """A route of an asymmetric model.

    Attributes:
        name: In the model's router; also of the published folder.
        tasks: Values of encode(task=...) that lead to it; `query` and `document` are those of
            encode_query() and encode_document().
        is_default: Whether encode() without a task leads to it.
        others: The model's other routes for texts.
    """

    name: RouteName
    tasks: Annotated[tuple[Name, ...], MaxLen(10 * MAX_ROUTES)]
    is_default: bool
    others: Annotated[tuple[RouteName, ...], MaxLen(MAX_ROUTES)]

    @property
    def task(self) -> str | None:
        """The first task that leads to it; None if only encode() without one does."""
        return self.tasks[0] if self.tasks else None

    @property
    def calls(self) -> tuple[str, ...]:
        """The calls of sentence-transformers that lead to it."""
        calls = [
            f"encode_{task}()" if task in USUAL_TASKS else f"encode(task={task!r})"
            for task in self.tasks
        ]
        return (*calls, *(["encode()"] if self.is_default else []))


@dataclass(frozen=True, kw_only=True)
class RoutedChain:
    """The modules with which one route embeds texts.

    Attributes:
        file: Path of the router's settings.
        first: Number of its first module that is inside the router.
        last: Number of the module after its last one inside the router.
        place: The transformer's folder in the source; "" for the model's own.
        chain: modules.json with the route's modules only.
    """

    route: Route
    file: str
    first: int
    last: int
    keys: tuple[RouteKey, ...]
    place: str
    chain: tuple[Mapping[str, Any], ...]

    @property
    def published_chain(self) -> list[dict[str, Any]]:
        """What modules.json says in the published folder."""
        return [{**entry, "path": entry["path"] if i else ""} for i, entry in enumerate(self.chain)]

    def published(self, file: str) -> str | None:
        """Returns a source file's path in the published folder, whose transformer is at its root.

        None stands for the router's settings, which have no meaning there.
        """
        if file == self.file:
            return None
        if not self.place or any(file.startswith(f"{path}/") for path in self._inside):
            return file
        return file.removeprefix(f"{self.place}/")

    @property
    def _inside(self) -> Iterator[str]:
        """Yields the other modules' folders that are inside the transformer's."""
        paths = (str(entry["path"]) for entry in self.chain[1:])
        return (path for path in paths if path.startswith(f"{self.place}/"))
