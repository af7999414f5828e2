"""Validation of single values in a hub's responses and headers, by type and format.

The functions raise ValueError, with the name of the field if they are given it.
"""

import re
import unicodedata
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

#: Hash of a commit.
COMMIT = re.compile(r"[0-9a-f]{40}")
#: Identifies a file's content: git's blob id of a small one, the sha256 of a large one.
CONTENT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
_XET_HASH = re.compile(r"[0-9a-fA-F]{64}")
_ETAG = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
_NUMBER = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[?[0-9A-Fa-f:.]{2,45}\]?")
_MAX_SIZE = 1 << 50
_MAX_NAME = 1000
_MAX_PART_BYTES = 255  # limit of ext4, xfs, btrfs and APFS


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
    return text_of(value, field, _XET_HASH)


def cleaned(text: str) -> str:
    """Returns a text without control characters."""
    return "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)


def printable(text: str) -> str:
    """Returns a short untrusted text without control characters."""
    return cleaned(text[:300])


def text_of(value: object, field: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{field}: {'wrong format' if value else 'missing'}")
    return value


def size_of(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SIZE:
        raise ValueError(f"{field}: not a size")
    return value


def object_of(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{field}: not an object")
    return value


def list_of(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{field}: not a list")
    return value


def boolean_of(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{field}: neither true nor false")
    return value


def address_of(value: object, field: str) -> str:
    try:
        address(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
    return str(value)
