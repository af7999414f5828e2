"""Encodes and decodes manifests; errors start with the path of the invalid field."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from embconvert.errors import UnsupportedModelError
from embconvert.fidelity.figures import Fidelity
from embconvert.manifest.artifacts import ArtifactRecord
from embconvert.manifest.records import MANIFEST_FILE, PAGES, SCHEMA_VERSION, Manifest
from embconvert.models.constraints import FORMS
from embconvert.models.json_records import adapter, as_json
from embconvert.models.kinds import KINDS, Kind

if TYPE_CHECKING:
    from pydantic import ValidationError

#: Larger manifests are refused.
MAX_BYTES = 1 << 24
_MAX_SHOWN = 80
_TYPES = {
    "int_type": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "dataclass_type": "must be an object",
    "model_attributes_type": "must be an object",
    "finite_number": "must be a finite number",
    "missing": "is missing",
    "unexpected_keyword_argument": "is not a field of a manifest",
    "union_tag_not_found": "has no kind",
    "union_tag_invalid": "has an unknown kind",
}


class BrokenManifest(ValueError):  # noqa: N818 - what it is
    """The manifest is invalid."""


class OlderManifest(BrokenManifest):
    """An older version of embconvert wrote the manifest."""


def parse_manifest(content: bytes) -> Manifest:
    """Reads a manifest from the content of its file; raises BrokenManifest if it is invalid."""
    from pydantic import ValidationError

    if len(content) > MAX_BYTES:
        raise BrokenManifest(f"is larger than {MAX_BYTES >> 20} MiB")
    value = _plain(content)
    _check_version(value)
    try:
        manifest = adapter(Manifest).validate_json(content, strict=True)
    except ValidationError as error:
        raise BrokenManifest(_in_words(error, value)) from None
    for problem in _contradictions(manifest):
        raise BrokenManifest(problem)
    return manifest


def as_text(manifest: Manifest) -> str:
    """Returns the content of a manifest's file.

    Raises UnsupportedModelError if it could not be read again, because a limit is exceeded.
    """
    text = json.dumps(as_json(manifest), indent=2, ensure_ascii=False) + "\n"
    try:
        parse_manifest(text.encode())
    except ValueError as error:
        raise UnsupportedModelError(
            f"{MANIFEST_FILE} cannot describe this model: {error}", "please report the model"
        ) from error
    return text


def _plain(content: bytes) -> dict[str, Any]:
    """Returns the parsed JSON; refuses JSON that parsers read differently."""
    if content.startswith(b"\xef\xbb\xbf"):
        raise BrokenManifest("starts with a byte order mark")
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_refuse
        )
    except BrokenManifest:
        raise
    except UnicodeDecodeError as error:
        raise BrokenManifest("is not UTF-8") from error
    except RecursionError as error:
        raise BrokenManifest("is nested too deeply") from error
    except ValueError as error:
        raise BrokenManifest(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BrokenManifest("must be an object")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BrokenManifest(f"has the field {_shown(name)} twice")
    return value


def _refuse(name: str) -> None:
    raise BrokenManifest(f"has {name}, which is not a JSON number")


def _check_version(value: Mapping[str, Any]) -> None:
    version = value.get("schema_version")
    if version == SCHEMA_VERSION and isinstance(version, int):
        return
    if isinstance(version, int) and 0 < version < SCHEMA_VERSION and version is not True:
        raise OlderManifest("was written by an older embconvert")
    if version is True or not isinstance(version, int):
        raise BrokenManifest(f"schema_version must be {SCHEMA_VERSION}")
    raise BrokenManifest("was written by a newer embconvert")


def _in_words(error: "ValidationError", value: Any) -> str:
    """Returns the first error: the field's path, and what the field must be."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, context = first["type"], first.get("ctx") or {}
    if kind == "json_invalid":
        return f"is not JSON: {context.get('error', first['msg'])}"
    path = _path(first["loc"], value, is_missing=kind == "missing")
    return f"{path} {_must(kind, context, first['msg'])}"


def _must(kind: str, context: Mapping[str, Any], message: str) -> str:
    bounds = {
        "greater_than_equal": ("ge", "must be at least {:g}"),
        "less_than_equal": ("le", "must be at most {:g}"),
        "greater_than": ("gt", "must be more than {:g}"),
        "too_short": ("min_length", "must have at least {}"),
        "string_too_short": ("min_length", "must have at least {} characters"),
        "too_long": ("max_length", "must have at most {} entries"),
        "string_too_long": ("max_length", "must have at most {} characters"),
        "enum": ("expected", "must be one of {}"),
        "literal_error": ("expected", "must be {}"),
    }
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in bounds:
        name, words = bounds[kind]
        return words.format(context[name])
    if kind == "string_pattern_mismatch":
        return f"must be {FORMS.get(context['pattern'], 'in another format')}"
    return f"is invalid: {message}"


def _path(location: tuple[int | str, ...], value: Any, *, is_missing: bool) -> str:
    """Returns a field's path, without pydantic's names of union members."""
    path = ""
    for place, part in enumerate(location):
        is_last = place == len(location) - 1
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
            path += f"[{part}]"
        elif isinstance(value, dict) and (part in value or (is_missing and is_last)):
            value = value.get(part)
            path += f".{_shown(part)}"
    return path.removeprefix(".") or "it"


def _shown(name: str) -> str:
    return name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "…"


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yields errors across fields: duplicate paths, a measure of another kind."""
    places = [(f"artifacts[{n}].path", a.path) for n, a in enumerate(manifest.artifacts)]
    places += [
        (f"artifacts[{n}].external_data.path", a.external_data.path)
        for n, a in enumerate(manifest.artifacts)
        if a.external_data is not None
    ]
    places += [
        (f"artifacts[{n}].beside[{m}].path", file.path)
        for n, a in enumerate(manifest.artifacts)
        for m, file in enumerate(a.beside)
    ]
    places += [(f"files[{n}].path", f.path) for n, f in enumerate(manifest.files)]
    places += [(f"pages[{n}].path", f.path) for n, f in enumerate(manifest.pages)]
    seen: dict[str, str] = {}
    for field, path in places:
        # For some file systems, README.md and readme.md are the same file.
        key = path.casefold()
        if key in seen:
            yield f"{field} is the same as {seen[key]}"
        seen[key] = field
        if path == MANIFEST_FILE or path.partition("/")[0] == ".work":
            yield f"{field} must not be {_shown(path)}"
        if field.startswith("pages") is not (path in PAGES):
            yield f"{field} must {'' if field.startswith('pages') else 'not '}be a page"
    folders = {
        path.rsplit("/", depth)[0] for path in seen for depth in range(1, path.count("/") + 1)
    }
    for path, field in seen.items():
        if path in folders:
            yield f"{field} is a folder of another file"
    chosen = manifest.recommended
    if chosen is not None and chosen.path not in {graph.path for graph in manifest.artifacts}:
        yield "recommended.path must be that of a graph"
    for number, record in enumerate(manifest.artifacts):
        for problem in _contradictions_of_graph(record, manifest):
            yield f"artifacts[{number}].{problem}"


def _contradictions_of_graph(record: ArtifactRecord, manifest: Manifest) -> Iterator[str]:
    external = record.external_data
    # A graph names only the file, which it reads beside itself.
    if external is not None and PurePath(external.path).parent != PurePath(record.path).parent:
        yield "external_data.path must be in the folder of its graph"
    for place, form in enumerate(record.forms):
        if form.problem is not None:
            yield f"forms[{place}] {form.problem}"
    figures = record.fidelity
    if figures is not None and figures.similarity.measure is not manifest.measure:
        yield f"fidelity.similarity.measure must be {manifest.measure}"
    if figures is not None and not _has_possible_heads(figures, manifest.kind):
        words = KINDS[manifest.kind].words
        yield f"fidelity.heads are not those of {words}"


def _has_possible_heads(figures: Fidelity, kind: Kind) -> bool:
    """Whether figures are of heads that a kind of model may have, each by its own measure."""
    possible = {Kind(head.kind) for head in KINDS[kind].heads}
    return set(figures.heads) <= possible and all(
        not head.heads and head.similarity.measure is KINDS[of].measure
        for of, head in figures.heads.items()
    )
