"""What a topic of `embconvert help` is."""

from collections.abc import Iterable
from dataclasses import dataclass

from embconvert.models.compat import Version


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A table with an introduction; code stands in backticks.

    Attributes:
        columns: Headings; the first column names a row.
        rows: One cell per column; links as `[words](address)`.
    """

    title: str
    introduction: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def code(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def release(version: Version) -> str:
    return ".".join(map(str, version))
