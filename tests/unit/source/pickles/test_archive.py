"""A zip archive is read only if every reader of zip files would find the same in it."""

import io
import struct
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.source.pickles.archive import read_archive
from support.pickling import ZipEntry, directory_end, local_header, zip_of

ENTRIES = [ZipEntry(name="a/b", content=b"first"), ZipEntry(name="a/c", content=b"2nd")]


def contents(archive: bytes) -> dict[str, bytes]:
    found = read_archive(io.BytesIO(archive), "weights.bin")
    return {name: archive[e.offset : e.offset + e.size] for name, e in found.items()}


def test_entries_lie_where_it_says() -> None:
    assert contents(zip_of(ENTRIES)) == {"a/b": b"first", "a/c": b"2nd"}


def test_an_archive_of_pythons_zipfile_is_read(tmp_path: Path) -> None:
    """It has no zip64 directory, and no sizes behind its entries."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "weights.bin", "w") as archive:
        archive.writestr("a/b", b"first")
    assert contents((tmp_path / "weights.bin").read_bytes()) == {"a/b": b"first"}


def test_entries_of_gigabytes_are_found(tmp_path: Path) -> None:
    """Their sizes and places are in the fields of zip64; the file is sparse."""
    content, size = b"far away", 5 << 30
    big, far = ZipEntry(name="a/big", content=b""), ZipEntry(name="a/far", content=content)
    far_at = len(local_header(big)) + size
    directory = listed_in_64_bits(big, size, 0) + listed_in_64_bits(far, len(content), far_at)
    path = tmp_path / "weights.bin"
    with path.open("wb") as stream:
        stream.write(local_header(big))
        stream.seek(far_at)
        end = far_at + stream.write(local_header(far) + content)
        stream.write(directory + directory_end(end, len(directory), 2))
    with path.open("rb") as stream:
        found = read_archive(stream, path.name)
        assert found["a/big"].size == size
        stream.seek(found["a/far"].offset)
        assert stream.read(found["a/far"].size) == content


def listed_in_64_bits(entry: ZipEntry, size: int, header: int) -> bytes:
    """An entry of the directory, with every number that can be elsewhere in the extra field."""
    name, marker = entry.name.encode(), 0xFFFFFFFF
    extra = struct.pack("<2H3Q", 1, 24, size, size, header)
    return struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 0, 0, entry.flags, 0, 0, 0, 0, marker, marker, len(name),
        len(extra), 0, 0, 0, 0, marker,
    ) + name + extra  # fmt: skip


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "points beyond its end"),
        (zip_of(ENTRIES, comment=b"more"), "does not end with a zip directory"),
        (zip_of(ENTRIES) + zip_of(ENTRIES), "is not at its end"),
        (zip_of(ENTRIES, count=1), "more entries than it says"),
        (zip_of(ENTRIES, count=3), "ends too early"),
        (zip_of(ENTRIES, count=60_000), "ends too early"),
        (zip_of(ENTRIES, count=200_000), "200000 entries"),
        (zip_of([*ENTRIES, ENTRIES[0]]), "is there twice"),
        (zip_of([ZipEntry(name="a", content=b"x", method=8)]), "is compressed"),
        (zip_of([ZipEntry(name="a", content=b"x", flags=1)]), "not as torch saves it"),
        (zip_of([ZipEntry(name="a", content=b"x", own_name="b")]), "another header"),
        (zip_of([ZipEntry(name="a", content=b"x", size=1 << 20)]), "beyond its end"),
        (zip_of([ZipEntry(name="a", content=b"x", header=1 << 30)]), "beyond its end"),
        (zip_of([ZipEntry(name="a", content=b"x", header=1)]), "another header"),
    ],
)
def test_anything_else_is_refused(archive: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_archive(io.BytesIO(archive), "weights.bin")


def test_an_entry_inside_of_another_is_refused() -> None:
    inner = ZipEntry(name="a/inner", content=b"x")
    hidden = local_header(inner) + inner.content
    outer = ZipEntry(name="a/outer", content=hidden)
    at = len(local_header(outer))
    listed = ZipEntry(name="a/inner", content=b"x", header=at)
    with pytest.raises(SourceError, match="lies across another"):
        read_archive(io.BytesIO(zip_of([outer, listed])), "weights.bin")


def test_an_archive_that_was_cut_off_anywhere_is_refused() -> None:
    archive = zip_of(ENTRIES)
    for length in range(len(archive)):
        with pytest.raises(SourceError, match="truncated or corrupt"):
            read_archive(io.BytesIO(archive[:length]), "weights.bin")
