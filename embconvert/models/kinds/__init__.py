"""The kinds of models: one line in `Kind`, and one file in each room that treats kinds differently.

A kind's files have the name of its line in lower case: `models/kinds/sparse.py`,
`fidelity/kinds/sparse.py` and so on. Rooms find them by `part_of` and `class_of`, so to add a kind,
no other file is edited. `tests/unit/project/test_kinds.py` checks that no file is missing.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import import_module
from typing import Any, TypeVar

from embconvert.models.choices import Layout
from embconvert.models.kinds.rules import (
    TOKEN_LOGITS,
    TOKENS_OUTPUT,
    Head,
    KindRules,
    Measure,
    Reading,
    TracedValue,
)

__all__ = [
    "HEAD_FILES",
    "KINDS",
    "TASKS",
    "TOKENS_OUTPUT",
    "TOKEN_LOGITS",
    "Head",
    "Kind",
    "KindRules",
    "Measure",
    "Reading",
    "TracedValue",
    "class_of",
    "part_of",
    "with_heads",
]

T = TypeVar("T")


class Kind(StrEnum):
    """What a model computes from text; the values are the manifest's."""

    #: What a model is that does not declare its kind.
    EMBEDDING = "embedding"
    RERANKER = "reranker"
    SPARSE = "sparse"
    LATE_INTERACTION = "late-interaction"
    HYBRID = "hybrid"


def part_of(kind: Kind, package: str, name: str, expected: type[T]) -> T:
    """Returns the value that a kind's module in a room, of the room's `package`, defines.

    Raises TypeError if it has another type than `expected`.
    """
    value = _defined(kind, package, name)
    if not isinstance(value, expected):
        raise TypeError(f"{package}.{kind.name.lower()}.{name} is not a {expected.__name__}")
    return value


def class_of(kind: Kind, package: str, name: str, base: type[T]) -> type[T]:
    """Returns the class that a kind's module defines; raises TypeError if it is none of `base`."""
    value = _defined(kind, package, name)
    if not (isinstance(value, type) and issubclass(value, base)):
        raise TypeError(f"{package}.{kind.name.lower()}.{name} is not a class of {base.__name__}")
    return value


def _defined(kind: Kind, package: str, name: str) -> Any:
    return getattr(import_module(f"{package}.{kind.name.lower()}"), name)


KINDS: Mapping[Kind, KindRules] = {
    kind: part_of(kind, __name__, "RULES", KindRules) for kind in Kind
}

#: Every value of --task, with its kind.
TASKS: Mapping[str, Kind] = {task: kind for kind, rules in KINDS.items() for task in rules.tasks}

#: The files of the heads of all kinds.
HEAD_FILES = frozenset(head.file for rules in KINDS.values() for head in rules.heads)


def with_heads(kind: Kind, files: Iterable[str], layout: Layout) -> Kind:
    """Returns the kind as which a model with such files is converted if --task names none.

    With files of heads, an embedding model is of the kind that has them, unless the program of the
    layout reads a single output.
    """
    found = HEAD_FILES.intersection(files)
    if kind is not Kind.EMBEDDING:
        return kind
    having = (
        other
        for other, rules in KINDS.items()
        if layout in rules.layouts and found.intersection(head.file for head in rules.heads)
    )
    return next(having, kind)
