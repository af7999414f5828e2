"""Records as JSON; pydantic is loaded when the first one is read or written."""

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from embconvert.models.constraints import Record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def adapter(record: type[T]) -> "TypeAdapter[T]":
    """Returns what encodes, decodes and validates a record."""
    kind: Any = record
    found: TypeAdapter[T] = _adapter(kind)
    return found


@functools.cache
def _adapter(record: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record)


def as_json(record: Record) -> dict[str, Any]:
    value: dict[str, Any] = adapter(type(record)).dump_python(record, mode="json", warnings=False)
    return value
