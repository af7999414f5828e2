"""The manifest's JSON Schema: `python -m embconvert.manifest.schema` writes it (`make schema`)."""

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import embconvert
from embconvert.manifest.codec import adapter
from embconvert.manifest.records import Manifest

SCHEMA_FILE = Path(embconvert.__file__).parent / "data" / "manifest.schema.json"


def schema_text() -> str:
    """Returns the schema as its file has it; its descriptions are the records' docstrings."""
    value = adapter().json_schema(mode="validation")
    definitions: dict[str, Any] = value.pop("$defs")
    records = {record.__name__: record for record in _records(Manifest)}
    for name, definition in [*definitions.items(), (Manifest.__name__, value)]:
        _describe(definition, records.get(name))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **value,
        "title": "embconvert manifest",
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _records(kind: Any) -> Iterator[type]:
    """Yields every record that a type has in it."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield kind
        for hint in typing.get_type_hints(kind, include_extras=True).values():
            yield from _records(hint)
    for part in typing.get_args(kind):
        yield from _records(part)


def _describe(definition: dict[str, Any], record: type | None) -> None:
    """Puts a docstring's first sentence and its attributes where a schema has descriptions."""
    definition.pop("title", None)
    if record is None:
        definition.pop("description", None)  # an enumeration's
        return
    text = inspect.getdoc(record) or ""
    first, _, attributes = text.partition("\nAttributes:\n")
    definition["description"] = " ".join(first.split())
    said = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    words = {name: " ".join(meaning.split()) for name, meaning in said}
    for name, field in definition.get("properties", {}).items():
        field.pop("title", None)
        if name in words:
            field["description"] = words[name]


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
