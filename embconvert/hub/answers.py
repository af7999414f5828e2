"""What a hub may answer: each field by name, type and format.

huggingface_hub believes what a hub says: an ETag becomes the name of a file, a commit a folder, an
address the next request, with the token. Every answer passes here first, and only the fields that
are known here reach the library. The functions raise ValueError with the field's name.
"""

import contextlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

#: A commit's sha.
COMMIT = re.compile(r"[0-9a-f]{40}")
#: What a file's content is known by: git's id of a small one, the sha256 of a large one.
CONTENT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_XET_HASH = re.compile(r"[0-9a-fA-F]{64}")
_ETAG = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
_NUMBER = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[?[0-9A-Fa-f:.]{2,45}\]?")
_MAX_SIZE = 1 << 50
_MAX_NAME = 1000
_MAX_PART_BYTES = 255  # of a file name: ext4, xfs, btrfs, APFS
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)


def is_file_name(name: object) -> bool:
    """Tells whether a name can be that of a file in a repository, below any folder.

    No absolute path, nothing that leads upwards, no other system's separators, nothing that a
    terminal acts on or a file system cannot store.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        return False
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return all(
        0 < len(part) <= _MAX_PART_BYTES and part not in (b".", b"..") for part in parts
    ) and not any(c in '\\:"<>|\x7f' or unicodedata.category(c)[0] == "C" for c in name)


def address(text: object, *, base: str = "") -> SplitResult:
    """Returns the parts of an absolute http(s) address.

    Args:
        text: The address.
        base: The address that it may be relative to; empty where it must be absolute.

    Raises:
        ValueError: It is none, or it carries a user's name.
    """
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,8192}", text) or "\\" in text:
        raise ValueError("no address")
    if base and not re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE):
        if not re.match(r"/(?!/)", text):
            raise ValueError("no absolute address")
        text = urljoin(base, text)
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or ".." in host:
        raise ValueError("no http or https address")
    if parts.username is not None or parts.port == 0:  # .port raises ValueError over 65535
        raise ValueError("no address of a server")
    return parts


def origin(parts: SplitResult) -> tuple[str, str, int]:
    """Returns who answers at an address: scheme, host and port."""
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def content_id(etag: str) -> str:
    """Returns the hash in an ETag."""
    match = _ETAG.fullmatch(etag)
    if not match:
        raise ValueError("ETag: no hash")
    return match[1]


def number(text: str, field: str) -> int:
    """Returns a count of bytes."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{field}: no size")
    return int(text)


def content_range(text: str) -> tuple[int, int, int]:
    """Returns the first byte, the last one, and the size of the whole."""
    match = _RANGE.fullmatch(text)
    if not match or not int(match[1]) <= int(match[2]) < int(match[3]):
        raise ValueError("Content-Range: no range")
    return int(match[1]), int(match[2]), int(match[3])


def xet_hash(value: object, field: str) -> str:
    """Returns a hash of xet's."""
    return _text(value, field, _XET_HASH)


def explanation(value: Any) -> dict[str, Any]:
    """Returns what may be shown of an error's body, and the address that a conflict has."""
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
    """Returns a text without what a terminal acts on."""
    return "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)


def printable(text: str) -> str:
    """Returns a text of a stranger's, short and cleaned."""
    return cleaned(text[:300])


def _text(value: object, field: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{field}: {'a word of another form' if value else 'missing'}")
    return value


def _size(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SIZE:
        raise ValueError(f"{field}: no size")
    return value


def _object(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{field}: no object")
    return value


def _list(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{field}: no list")
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
    value = _object(value, "the answer")
    return {
        "id": _text(value.get("id"), "id", _REPO_ID),
        "sha": _text(value.get("sha"), "sha", COMMIT),
    }


def _models(value: Any) -> list[dict[str, Any]]:
    entries = [_object(entry, "a model") for entry in _list(value, "the answer")]
    return [{"id": _text(entry.get("id"), "id", _REPO_ID)} for entry in entries]


def _refs(value: Any) -> dict[str, Any]:
    value = _object(value, "the answer")
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
    """Returns the known fields of a file in a listing, whose name was looked at.

    Raises:
        ValueError: One has another form.
    """
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
            raise ValueError(f"{field}lfs.size: another one than size")
    if entry.get("xetHash") is not None:
        known["xetHash"] = xet_hash(entry["xetHash"], f"{field}xetHash")
    return known


def _tree(value: Any) -> list[dict[str, Any]]:
    """Leaves out folders, and files with names that none that is needed has."""
    files = {}
    for entry in _list(value, "the answer"):
        entry = _object(entry, "an entry")  # noqa: PLW2901
        name = entry.get("path")
        if not isinstance(name, str):
            raise ValueError("path: no text")
        if entry.get("type") != "file" or not is_file_name(name):
            continue
        if name in files:
            raise ValueError(f"{name}: twice in one listing")
        files[name] = {"type": "file", "path": name} | listed_file(entry)
    return list(files.values())


def _created(value: Any) -> dict[str, Any]:
    return {"url": _address(_object(value, "the answer").get("url"), "url")}


def _upload_modes(value: Any) -> dict[str, Any]:
    known = []
    for entry in _list(_object(value, "the answer").get("files"), "files"):
        file = _object(entry, "files")
        if not is_file_name(file.get("path")):
            raise ValueError("path: no name of a file")
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
    value = _object(value, "the answer")
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
                raise ValueError("actions: no upload")
        known.append(one)
    transfer = _text(value.get("transfer", "basic"), "transfer", re.compile("basic|multipart|xet"))
    return {"objects": known, "transfer": transfer}


def _action(value: Any, kind: str) -> dict[str, Any]:
    action = _object(value, kind)
    known: dict[str, Any] = {"href": _address(action.get("href"), f"{kind}.href")}
    parts: dict[str, Any] = {}
    for key, text in _object(action.get("header") or {}, f"{kind}.header").items():
        if key == "chunk_size":
            parts[key] = number(str(text), "chunk_size")
            if not parts[key]:
                raise ValueError("chunk_size: no size")
        elif re.fullmatch("[0-9]{1,5}", key):
            parts[key] = _address(text, f"{kind}.header.{key}")
    return known | {"header": parts}


def _committed(value: Any) -> dict[str, Any]:
    value = _object(value, "the answer")
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


# Each answer in JSON that the library is let read, by the end of the request's path.
_ANSWERS: tuple[tuple[str, Callable[[Any], Any] | None], ...] = (
    (r"/api/models", _models),
    (r"/api/models/.+/tree/[^/]+", _tree),
    (r"/api/models/.+/refs", _refs),
    (r"/api/models/.+/branch/[^/]+", None),
    (r"/api/models/.+/xet-(read|write)-token/[^/]+", None),  # its headers tell
    (r"/api/models/.+/preupload/[^/]+", _upload_modes),
    (r"/api/models/.+/commit/[^/]+", _committed),
    (r"/api/models/.+", _info),
    (r"/api/repos/create", _created),
    (r"/api/validate-yaml", explanation),
    (r"/.+\.git/info/lfs/objects/batch", _transfers),
)


def reader(path: str) -> Callable[[Any], Any] | None:
    """Returns what reads the JSON that is the answer to a request; None where none is.

    Args:
        path: Of the request, quoted as it was sent.
    """
    for pattern, read in _ANSWERS:
        if re.search(rf"{pattern}\Z", path):
            return read
    return None
