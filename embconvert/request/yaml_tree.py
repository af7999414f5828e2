"""Reads YAML and JSON into a tree with the position of each part; safe for any input.

PyYAML's loaders lose the positions and expand aliases without limit, and the one in C overflows the
stack on a deeply nested file. So the tree is built from PyYAML's events.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

_MAX_DEPTH = 8
# The longest value in a list is a path, which has at most 4,096 bytes.
_MAX_WORD = 4096
# Enough for a list of 100,000 models with three options each.
_MAX_NODES = 1_000_000
# Tags that do not change how a word or list is read here; `!` marks a quoted word.
_PLAIN_TAGS = (None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")))
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """A position in a file, counted from 1."""

    line: int
    column: int


class NotYamlError(ValueError):
    """The text is not YAML that embconvert reads; `place` is where."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """A word as written, None for null, and its value if it is one of YAML's for true and false."""

    text: str | None
    switch: bool | None
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    items: "tuple[YamlNode, ...]"
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Pairs in order; a key may occur twice."""

    pairs: "tuple[tuple[Scalar, YamlNode], ...]"
    place: Place


YamlNode = Scalar | Sequence | Mapping


def parse_yaml(text: str) -> YamlNode:
    """Reads one YAML or JSON document; of an empty one, the root is a null.

    Raises:
        NotYamlError: It is not one document, is nested too deeply, has too many parts or too long a
            word, or uses aliases or tags.
    """
    reader = _TreeReader(text)
    try:
        return reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = error.problem or error.context or "it cannot be read"
        place = Place(line=mark.line + 1, column=mark.column + 1) if mark else reader.place
        raise NotYamlError(message, place) from error
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise NotYamlError(str(error).splitlines()[0], reader.place) from error


class _TreeReader:
    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._nodes = 0
        self.place = Place(line=1, column=1)

    def _next(self) -> yaml.Event:
        event = next(self._events)
        mark = event.start_mark
        if mark is not None:
            self.place = Place(line=mark.line + 1, column=mark.column + 1)
        return event

    def _refuse(self, message: str) -> NoReturn:
        raise NotYamlError(message, self.place)

    def document(self) -> YamlNode:
        self._next()  # start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Scalar(text=None, switch=None, place=self.place)
        node = self._node(self._next(), 0)
        self._next()  # end of the document
        if not isinstance(self._next(), yaml.StreamEndEvent):
            self._refuse("it has a second document")
        return node

    def _node(self, event: yaml.Event, depth: int) -> YamlNode:
        place = self.place
        if depth > _MAX_DEPTH:
            self._refuse(f"it is nested more than {_MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases are not supported; write shared options below `defaults`")
        self._count(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[YamlNode] = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Sequence(items=tuple(items), place=place)
        pairs: list[tuple[Scalar, YamlNode]] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse("a key must be a word")
            self._count(event)
            key = self._scalar(event)
            pairs.append((key, self._node(self._next(), depth + 1)))
        return Mapping(pairs=tuple(pairs), place=place)

    def _count(self, event: Any) -> None:
        """Refuses too many parts, and tags that would change the meaning of a value."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            self._refuse(f"it has over {_MAX_NODES:,} parts")
        if event.tag not in _PLAIN_TAGS:
            self._refuse("tags are not supported; write the value without one")

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        if len(event.value) > _MAX_WORD:
            self._refuse(f"a word has over {_MAX_WORD:,} characters")
        if event.style not in (None, ""):  # in quotes
            return Scalar(text=event.value, switch=None, place=self.place)
        return Scalar(
            text=None if event.value in _NULLS else event.value,
            switch=yaml.SafeLoader.bool_values.get(event.value.lower()),
            place=self.place,
        )
