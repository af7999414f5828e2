"""Validation of a hub's responses: each field by name, type and format.

huggingface_hub trusts a hub's responses: an ETag becomes a file name, a commit a folder, a URL the
next request, with the token. Every response is validated here first, and only known fields reach
the library. The functions raise ValueError with the field's name.
"""

import contextlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

#: Hash of a commit.
COMMIT = re.compile(r"[0-9a-f]{40}")
#: Identifies a file's content: git's blob id of a small one, the sha256 of a large one.
CONTENT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_XET_HASH = re.compile(r"[0-9a-fA-F]{64}")
_ETAG = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
_NUMBER = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[?[0-9A-Fa-f:.]{2,45}\]?")
_MAX_SIZE = 1 << 50
_MAX_NAME = 1000
_MAX_PART_BYTES = 255  # limit of ext4, xfs, btrfs and APFS
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)


def is_file_name(name: object) -> bool:
    """Whether a name is a safe relative path of a file in a repository.

    It has no `..`, no other system's separators, no control characters, and no parts that file
    systems cannot store.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        return False
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return all(
        0 < len(part) <= _MAX_PART_BYTES and part not in (b".", b"..") for part in parts
    ) and not any(c in '\\:"<>|\x7f' or unicodedata.category(c)[0] == "C" for c in name)


def address(text: object, *, base: str = "") -> SplitResult:
    """Returns the parts of an absolute http(s) URL, to which a base may complete it.

    Raises ValueError if it is invalid, or contains a user name.
    """
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,8192}", text) or "\\" in text:
        raise ValueError("not a URL")
    if base and not re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE):
        if not re.match(r"/(?!/)", text):
            raise ValueError("not an absolute URL")
        text = urljoin(base, text)
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or ".." in host:
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.port == 0:  # .port raises ValueError over 65535
        raise ValueError("not the URL of a server")
    return parts


def origin(parts: SplitResult) -> tuple[str, str, int]:
    """Returns scheme, host and port."""
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def content_id(etag: str) -> str:
    """Returns the hash in an ETag."""
    match = _ETAG.fullmatch(etag)
    if not match:
        raise ValueError("ETag: not a hash")
    return match[1]


def byte_count(text: str, field: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{field}: not a size")
    return int(text)


def content_range(text: str) -> tuple[int, int, int]:
    """Returns the first byte, the last byte and the total size."""
    match = _RANGE.fullmatch(text)
    if not match or not int(match[1]) <= int(match[2]) < int(match[3]):
        raise ValueError("Content-Range: not a range")
    return int(match[1]), int(match[2]), int(match[3])


def xet_hash(value: object, field: str) -> str:
    return _text(value, field, _XET_HASH)


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


def cleaned(text: str) -> str:
    """Returns a text without control characters."""
    return "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)


def printable(text: str) -> str:
    """Returns a short untrusted text without control characters."""
    return cleaned(text[:300])


def _text(value: object, field: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{field}: {'wrong format' if value else 'missing'}")
    return value


def _size(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SIZE:
        raise ValueError(f"{field}: not a size")
    return value


def _object(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{field}: not an object")
    return value


def _list(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{field}: not a list")
    return value


def _boolean(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{field}: neither true nor false")
    return value


def _address(value: object, field: str) -> str:
    try:
        address(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
    return str(value)


def _info(value: Any) -> dict[str, Any]:
    value = _object(value, "the response")
    return {
        "id": _text(value.get("id"), "id", _REPO_ID),
        "sha": _text(value.get("sha"), "sha", COMMIT),
    }


def _models(value: Any) -> list[dict[str, Any]]:
    entries = [_object(entry, "a model") for entry in _list(value, "the response")]
    return [{"id": _text(entry.get("id"), "id", _REPO_ID)} for entry in entries]


def _refs(value: Any) -> dict[str, Any]:
    value = _object(value, "the response")
    known: dict[str, Any] = {"converts": []}
    for kind in ("branches", "tags"):
        entries = [_object(entry, kind) for entry in _list(value.get(kind), kind)]
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
        "size": _size(entry.get("size"), f"{field}size"),
        "oid": _text(entry.get("oid"), f"{field}oid", COMMIT),
    }
    if entry.get("lfs") is not None:
        lfs = _object(entry["lfs"], f"{field}lfs")
        known["lfs"] = {
            "oid": _text(lfs.get("oid"), f"{field}lfs.oid", _SHA256),
            "size": _size(lfs.get("size"), f"{field}lfs.size"),
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
    for entry in _list(value, "the response"):
        entry = _object(entry, "an entry")  # noqa: PLW2901
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
    return {"url": _address(_object(value, "the response").get("url"), "url")}


def _upload_modes(value: Any) -> dict[str, Any]:
    known = []
    for entry in _list(_object(value, "the response").get("files"), "files"):
        file = _object(entry, "files")
        if not is_file_name(file.get("path")):
            raise ValueError("path: not a file name")
        mode = _text(file.get("uploadMode"), "uploadMode", re.compile("lfs|regular"))
        oid = file.get("oid")
        known.append(
            {
                "path": file["path"],
                "uploadMode": mode,
                "shouldIgnore": _boolean(file.get("shouldIgnore", False), "shouldIgnore"),
                "oid": oid if oid is None else _text(oid, "oid", CONTENT_ID),
            }
        )
    return {"files": known}


def _transfers(value: Any) -> dict[str, Any]:
    value = _object(value, "the response")
    known = []
    for entry in _list(value.get("objects"), "objects"):
        thing = _object(entry, "objects")
        one: dict[str, Any] = {
            "oid": _text(thing.get("oid"), "oid", _SHA256),
            "size": _size(thing.get("size"), "size"),
        }
        if "error" in thing:
            error = _object(thing["error"], "error")
            message = printable(str(error.get("message")))
            one["error"] = {"message": message, "code": _size(error.get("code"), "code")}
        elif thing.get("actions") is not None:
            actions = _object(thing["actions"], "actions")
            kinds = [kind for kind in ("upload", "verify") if actions.get(kind) is not None]
            one["actions"] = {kind: _action(actions[kind], kind) for kind in kinds}
            if kinds and "upload" not in kinds:
                raise ValueError("actions: upload is missing")
        known.append(one)
    transfer = _text(value.get("transfer", "basic"), "transfer", re.compile("basic|multipart|xet"))
    return {"objects": known, "transfer": transfer}


def _action(value: Any, kind: str) -> dict[str, Any]:
    action = _object(value, kind)
    known: dict[str, Any] = {"href": _address(action.get("href"), f"{kind}.href")}
    parts: dict[str, Any] = {}
    for key, text in _object(action.get("header") or {}, f"{kind}.header").items():
        if key == "chunk_size":
            parts[key] = byte_count(str(text), "chunk_size")
            if not parts[key]:
                raise ValueError("chunk_size: not a size")
        elif re.fullmatch("[0-9]{1,5}", key):
            parts[key] = _address(text, f"{kind}.header.{key}")
    return known | {"header": parts}


def _committed(value: Any) -> dict[str, Any]:
    value = _object(value, "the response")
    known = {
        "commitUrl": _address(value.get("commitUrl"), "commitUrl"),
        "commitOid": _text(value.get("commitOid"), "commitOid", COMMIT),
    }
    if value.get("pullRequestUrl") is not None:
        url = _address(value["pullRequestUrl"], "pullRequestUrl")
        known["pullRequestUrl"] = _text(
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
