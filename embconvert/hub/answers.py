"""Validation of a hub's responses: each field by name, type and format.

huggingface_hub trusts a hub's responses: an ETag becomes a file name, a commit a folder, a URL the
next request, with the token. Every response is validated here first, and only known fields reach
the library. The functions raise ValueError with the field's name.
"""

import contextlib
import re
from collections.abc import Callable
from typing import Any

from embconvert.hub.answer_values import (
    COMMIT,
    CONTENT_ID,
    SHA256,
    address_of,
    boolean_of,
    byte_count,
    is_file_name,
    list_of,
    object_of,
    printable,
    size_of,
    text_of,
    xet_hash,
)

_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)


def explanation(value: Any) -> dict[str, Any]:
    """Returns the printable parts of an error's body, and the URL of a conflict."""
    known: dict[str, Any] = {}
    if not isinstance(value, dict):
        return known
    if isinstance(value.get("error"), str):
        known["error"] = printable(value["error"])
    for kind in ("errors", "warnings"):
        given = value.get(kind)
        listed: list[Any] = given if isinstance(given, list) else []
        messages = [entry.get("message") for entry in listed[:9] if isinstance(entry, dict)]
        known[kind] = [{"message": printable(m)} for m in messages if isinstance(m, str)]
    with contextlib.suppress(ValueError):
        known |= _created(value)
    return known


def _info(value: Any) -> dict[str, Any]:
    value = object_of(value, "the response")
    return {
        "id": text_of(value.get("id"), "id", _REPO_ID),
        "sha": text_of(value.get("sha"), "sha", COMMIT),
    }


def _models(value: Any) -> list[dict[str, Any]]:
    entries = [object_of(entry, "a model") for entry in list_of(value, "the response")]
    return [{"id": text_of(entry.get("id"), "id", _REPO_ID)} for entry in entries]


def _refs(value: Any) -> dict[str, Any]:
    value = object_of(value, "the response")
    known: dict[str, Any] = {"converts": []}
    for kind in ("branches", "tags"):
        entries = [object_of(entry, kind) for entry in list_of(value.get(kind), kind)]
        known[kind] = [
            {"name": e["name"], "ref": "", "targetCommit": ""}
            for e in entries
            if is_file_name(e.get("name"))
        ]
    return known


def listed_file(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns the known fields of a file in a listing, whose name is already checked."""
    field = f"{printable(str(entry.get('path')))}: "
    known: dict[str, Any] = {
        "size": size_of(entry.get("size"), f"{field}size"),
        "oid": text_of(entry.get("oid"), f"{field}oid", COMMIT),
    }
    if entry.get("lfs") is not None:
        lfs = object_of(entry["lfs"], f"{field}lfs")
        known["lfs"] = {
            "oid": text_of(lfs.get("oid"), f"{field}lfs.oid", SHA256),
            "size": size_of(lfs.get("size"), f"{field}lfs.size"),
            "pointerSize": 0,
        }
        if known["lfs"]["size"] != known["size"]:
            raise ValueError(f"{field}lfs.size: differs from size")
    if entry.get("xetHash") is not None:
        known["xetHash"] = xet_hash(entry["xetHash"], f"{field}xetHash")
    return known


def _tree(value: Any) -> list[dict[str, Any]]:
    """Returns the files, without folders and names that are not safe."""
    files = {}
    for entry in list_of(value, "the response"):
        entry = object_of(entry, "an entry")  # noqa: PLW2901
        name = entry.get("path")
        if not isinstance(name, str):
            raise ValueError("path: not text")
        if entry.get("type") != "file" or not is_file_name(name):
            continue
        if name in files:
            raise ValueError(f"{name}: listed twice")
        files[name] = {"type": "file", "path": name} | listed_file(entry)
    return list(files.values())


def _created(value: Any) -> dict[str, Any]:
    return {"url": address_of(object_of(value, "the response").get("url"), "url")}


def _upload_modes(value: Any) -> dict[str, Any]:
    known = []
    for entry in list_of(object_of(value, "the response").get("files"), "files"):
        file = object_of(entry, "files")
        if not is_file_name(file.get("path")):
            raise ValueError("path: not a file name")
        mode = text_of(file.get("uploadMode"), "uploadMode", re.compile("lfs|regular"))
        oid = file.get("oid")
        known.append(
            {
                "path": file["path"],
                "uploadMode": mode,
                "shouldIgnore": boolean_of(file.get("shouldIgnore", False), "shouldIgnore"),
                "oid": oid if oid is None else text_of(oid, "oid", CONTENT_ID),
            }
        )
    return {"files": known}


def _transfers(value: Any) -> dict[str, Any]:
    value = object_of(value, "the response")
    known = []
    for entry in list_of(value.get("objects"), "objects"):
        thing = object_of(entry, "objects")
        one: dict[str, Any] = {
            "oid": text_of(thing.get("oid"), "oid", SHA256),
            "size": size_of(thing.get("size"), "size"),
        }
        if "error" in thing:
            error = object_of(thing["error"], "error")
            message = printable(str(error.get("message")))
            one["error"] = {"message": message, "code": size_of(error.get("code"), "code")}
        elif thing.get("actions") is not None:
            actions = object_of(thing["actions"], "actions")
            kinds = [kind for kind in ("upload", "verify") if actions.get(kind) is not None]
            one["actions"] = {kind: _action(actions[kind], kind) for kind in kinds}
            if kinds and "upload" not in kinds:
                raise ValueError("actions: upload is missing")
        known.append(one)
    transfer = text_of(
        value.get("transfer", "basic"), "transfer", re.compile("basic|multipart|xet")
    )
    return {"objects": known, "transfer": transfer}


def _action(value: Any, kind: str) -> dict[str, Any]:
    action = object_of(value, kind)
    known: dict[str, Any] = {"href": address_of(action.get("href"), f"{kind}.href")}
    parts: dict[str, Any] = {}
    for key, text in object_of(action.get("header") or {}, f"{kind}.header").items():
        if key == "chunk_size":
            parts[key] = byte_count(str(text), "chunk_size")
            if not parts[key]:
                raise ValueError("chunk_size: not a size")
        elif re.fullmatch("[0-9]{1,5}", key):
            parts[key] = address_of(text, f"{kind}.header.{key}")
    return known | {"header": parts}


def _committed(value: Any) -> dict[str, Any]:
    value = object_of(value, "the response")
    known = {
        "commitUrl": address_of(value.get("commitUrl"), "commitUrl"),
        "commitOid": text_of(value.get("commitOid"), "commitOid", COMMIT),
    }
    if value.get("pullRequestUrl") is not None:
        url = address_of(value["pullRequestUrl"], "pullRequestUrl")
        known["pullRequestUrl"] = text_of(
            url, "pullRequestUrl", re.compile(r".+/discussions/[0-9]{1,9}")
        )
    return known


# The JSON responses that the library may read, by the end of the request's path.
_ANSWERS: tuple[tuple[str, Callable[[Any], Any] | None], ...] = (
    (r"/api/models", _models),
    (r"/api/models/.+/tree/[^/]+", _tree),
    (r"/api/models/.+/refs", _refs),
    (r"/api/models/.+/branch/[^/]+", None),
    (r"/api/models/.+/xet-(read|write)-token/[^/]+", None),  # only its headers are used
    (r"/api/models/.+/preupload/[^/]+", _upload_modes),
    (r"/api/models/.+/commit/[^/]+", _committed),
    (r"/api/models/.+", _info),
    (r"/api/repos/create", _created),
    (r"/api/validate-yaml", explanation),
    (r"/.+\.git/info/lfs/objects/batch", _transfers),
)


def reader(path: str) -> Callable[[Any], Any] | None:
    """Returns the validator of a path's JSON response; None if the library needs no JSON."""
    for pattern, read in _ANSWERS:
        if re.search(rf"{pattern}\Z", path):
            return read
    return None
