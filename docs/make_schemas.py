"""Writes the JSON Schemas of `embconvert/data` from the records; `make schema` runs it."""

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import embconvert
from embconvert.evaluation.records import Evaluations
from embconvert.manifest import Manifest
from embconvert.models.json_records import adapter
from embconvert.speed.bench_records import Benchmark

FOLDER = Path(embconvert.__file__).parent / "data"
#: The records, with the titles of their schemas, by the files' names.
_RECORDS: Mapping[str, tuple[type, str]] = {
    "manifest.schema.json": (Manifest, "embconvert manifest"),
    "evaluation.schema.json": (Evaluations, "embconvert evaluation"),
    "bench.schema.json": (Benchmark, "embconvert bench"),
}


def schemas() -> dict[str, str]:
    """Returns the content of each file."""
    return {name: _schema(record, title) for name, (record, title) in _RECORDS.items()}


def _schema(record: type, title: str) -> str:
    """Returns the JSON Schema of a record, with the records' docstrings as descriptions."""
    value = adapter(record).json_schema(mode="validation")
    definitions: dict[str, Any] = value.pop("$defs")
    records = {part.__name__: part for part in _records(record)}
    for name, definition in [*definitions.items(), (record.__name__, value)]:
        _describe(definition, records.get(name))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **value,
        "title": title,
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _records(kind: Any, known: frozenset[type] = frozenset()) -> Iterator[type]:
    """Yields all records that a type contains, except for the known ones that contain it."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind not in known:
        yield kind
        for hint in typing.get_type_hints(kind, include_extras=True).values():
            yield from _records(hint, known | {kind})
    for part in typing.get_args(kind):
        yield from _records(part, known)


def _describe(definition: dict[str, Any], record: type | None) -> None:
    """Sets the descriptions of a record and its fields from the docstring."""
    definition.pop("title", None)
    if record is None:
        definition.pop("description", None)  # the docstring of an enumeration
        return
    text = inspect.getdoc(record) or ""
    first, _, attributes = text.partition("\nAttributes:\n")
    definition["description"] = " ".join(first.split())
    said = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    words = {name: _in_json(" ".join(meaning.split())) for name, meaning in said}
    for name, field in definition.get("properties", {}).items():
        field.pop("title", None)
        if name in words:
            field["description"] = words[name]


def _in_json(meaning: str) -> str:
    """Returns a docstring's words with JSON's constants in place of Python's."""
    constants = {"None": "null", "True": "true", "False": "false"}
    return re.sub(r"\b(None|True|False)\b", lambda found: constants[found[0]], meaning)


if __name__ == "__main__":
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
