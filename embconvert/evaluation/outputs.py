"""The outputs of a graph for many inputs, computed once."""

from collections.abc import Generator, Sequence
from typing import Any, Protocol

from embconvert.evaluation.cache import Cache, key_of
from embconvert.evaluation.scoring import Row
from embconvert.fidelity.texts import Item, Query, joined


class Computes(Protocol):
    """Computes outputs, such as a graph in a worker process."""

    def rows(self, items: Sequence[Item]) -> Generator[Any, Any, list[Row]]:
        pass

    def end(self) -> None:
        """Ends the process that computes them; a second call does nothing."""


class CachedOutputs:
    """The outputs of a graph or the source; those that are not cached are computed."""

    def __init__(self, computes: Computes, cache: Cache | None) -> None:
        self._computes = computes
        self._cache = cache

    def rows(self, items: Sequence[Item]) -> Generator[Any, Any, list[Row]]:
        """Returns the packed output of each input; each different input is computed once."""
        keys = [_key(item) for item in items]
        by_key = dict(zip(keys, items, strict=True))
        known = self._cache.get(list(by_key)) if self._cache is not None else {}
        missing = {key: item for key, item in by_key.items() if key not in known}
        if missing:
            made = yield from self._computes.rows(list(missing.values()))
            new = dict(zip(missing, made, strict=True))
            if self._cache is not None:
                self._cache.put(new)
            known |= new
        return [known[key] for key in keys]

    def end(self) -> None:
        """Ends the process that computes them; a second call does nothing."""
        self._computes.end()


def _key(item: Item) -> bytes:
    whole = joined(item)
    if isinstance(whole, tuple):
        return key_of("pair", *whole)
    return key_of("query" if isinstance(item, Query) else "text", whole)
