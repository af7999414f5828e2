"""Files as torch.save() writes them, and as nobody should, made without torch.

A pickle is put together of its instructions, an archive of its headers, so that each can be wrong.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROTO, MARK, STOP, REDUCE, BUILD = b"\x80\x02", b"(", b".", b"R", b"b"
EMPTY_DICT, EMPTY_TUPLE, TUPLE, SETITEMS, TRUE, FALSE = b"}", b")", b"t", b"u", b"\x88", b"\x89"
PERSISTENT = b"Q"


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def imported(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def dict_of(items: Mapping[str, bytes]) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(k) + v for k, v in items.items()) + SETITEMS


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return imported(module, name) + tuple_of(*arguments) + REDUCE


ORDERED_DICT = imported("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE


def storage(
    key: str = "0", numbers: int = 6, kind: str = "FloatStorage", device: str = "cpu"
) -> bytes:
    """What torch writes in the place of a storage."""
    parts = text("storage"), imported("torch", kind), text(key), text(device), number(numbers)
    return tuple_of(*parts) + PERSISTENT


def tensor(
    shape: Sequence[int] = (2, 3),
    strides: Sequence[int] | None = None,
    *,
    offset: int = 0,
    of: bytes | None = None,
) -> bytes:
    """A tensor, contiguous unless strides are given, of a storage of its own size or of another."""
    if strides is None:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return call(
        "torch._utils", "_rebuild_tensor_v2",
        storage(numbers=math.prod(shape)) if of is None else of,
        number(offset), tuple_of(*map(number, shape)), tuple_of(*map(number, strides)),
        FALSE, ORDERED_DICT,
    )  # fmt: skip


def pickle_of(value: bytes) -> bytes:
    return PROTO + value + STOP


@dataclass(frozen=True, kw_only=True)
class ZipEntry:
    """An entry of a zip file; what is None is as it should be.

    Attributes:
        name: In the directory.
        content: Its bytes.
        own_name: In its own header.
        size: In the directory.
        method: How it is compressed.
        flags: Of both headers.
        header: Where the directory says that its own header is.
    """

    name: str
    content: bytes
    own_name: str | None = None
    size: int | None = None
    method: int = 0
    flags: int = 0x0808
    header: int | None = None


def local_header(entry: ZipEntry) -> bytes:
    """An entry's own header, aligned as torch does; the sizes follow the content."""
    name = (entry.own_name or entry.name).encode()
    return struct.pack(
        "<4s5H3L2H", b"PK\3\4", 0, entry.flags, entry.method, 0, 0, 0, 0, 0, len(name), 0
    ) + name  # fmt: skip


def zip_of(entries: Iterable[ZipEntry], *, comment: bytes = b"", count: int | None = None) -> bytes:
    """A zip file; as torch's, it has a zip64 directory whatever its size."""
    body, directory, listed = b"", b"", 0
    for entry in entries:
        name = entry.name.encode()
        size = len(entry.content) if entry.size is None else entry.size
        header = len(body) if entry.header is None else entry.header
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 0, 0, entry.flags, entry.method, 0, 0, 0, size, size,
            len(name), 0, 0, 0, 0, 0, header,
        ) + name  # fmt: skip
        follows = b"PK\7\x08" + struct.pack("<3L", 0, size, size)
        body += local_header(entry) + entry.content + follows
        listed += 1
    return body + directory + directory_end(len(body), len(directory), count or listed, comment)


def directory_end(start: int, size: int, count: int, comment: bytes = b"") -> bytes:
    """What follows the directory of a zip file: where it is, in 64 bits and in 32."""
    end = start + size
    long = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 0x31E, 45, 0, 0, count, count, size, start
    )  # fmt: skip
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    short = min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, short[0], *short, len(comment))
    return long + locator + last + comment


def archive_of(
    pickled: bytes, storages: Mapping[str, bytes], *, others: Mapping[str, bytes] | None = None
) -> list[ZipEntry]:
    """The entries of a file of torch.save()."""
    contents = {
        "data.pkl": pickled,
        "byteorder": b"little",
        **{f"data/{key}": content for key, content in storages.items()},
        "version": b"3\n",
        **(others or {}),
    }
    return [ZipEntry(name=f"archive/{name}", content=content) for name, content in contents.items()]


def save(
    path: Path,
    tensors: Mapping[str, bytes],
    storages: Mapping[str, bytes],
    others: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a file of torch.save().

    Args:
        path: The file.
        tensors: Each as tensor() writes it, by name.
        storages: The numbers, by key.
        others: More entries.
    """
    return save_pickle(path, pickle_of(dict_of(tensors)), storages, others)


def save_pickle(
    path: Path,
    pickled: bytes,
    storages: Mapping[str, bytes] | None = None,
    others: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes an archive with any pickle."""
    path.write_bytes(zip_of(archive_of(pickled, storages or {}, others=others)))
    return path
