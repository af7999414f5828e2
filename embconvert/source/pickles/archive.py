"""The entries of a zip archive of torch.save(): their offsets, so that tensors can be mapped.

Zip readers disagree on malformed archives: which directory counts, which of two entries with one
name, which of two sizes. This one accepts only what torch writes: uncompressed entries with unique
names that do not overlap, headers that agree with the directory, and a directory at the end.
Sources: APPNOTE.TXT 6.3.10 of PKWARE; torch's caffe2/serialize/inline_container.cc and its miniz.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from embconvert.errors import SourceError
from embconvert.source.pickles.refusals import corrupt

# Each tensor is one entry; the largest models have some thousands.
_MAX_ENTRIES = 100_000
_MAX_DIRECTORY_BYTES = 1 << 24

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_EXTRA = struct.Struct("<2H")

_STORED = 0
# The header's sizes are behind the content; names are UTF-8.
_SIZES_FOLLOW, _UTF_8 = 0x0008, 0x0800
_ZIP_64 = 1
# In a 16- or 32-bit field: the number is in the zip64 fields.
_ELSEWHERE_16, _ELSEWHERE = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Member:
    """The position of an entry's content in the file, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """An entry in the directory."""

    name: bytes
    flags: int
    size: int
    header: int


def read_archive(stream: BinaryIO, file: str) -> Mapping[str, Member]:
    """Returns the entries of an archive by name; raises SourceError if it is not torch's."""
    try:
        return _ZipReader(stream, file).entries()
    except struct.error as error:
        raise corrupt(file, "its zip directory ends too early") from error


class _ZipReader:
    def __init__(self, stream: BinaryIO, file: str) -> None:
        self._stream = stream
        self._file = file
        self._size = stream.seek(0, 2)

    def entries(self) -> dict[str, Member]:
        count, size, start = self._directory()
        if count > _MAX_ENTRIES or size > _MAX_DIRECTORY_BYTES:
            raise self._wrong(f"its zip directory has {count} entries in {size} bytes")
        found: dict[str, Member] = {}
        behind = 0
        listed = sorted(self._listed(self._read(start, size), count), key=lambda item: item.header)
        for item in listed:
            name = self._decoded(item.name)
            if name in found:
                raise self._wrong(f"its zip entry {name!r} is there twice")
            if item.header < behind:
                raise self._wrong(f"its zip entry {name!r} lies across another")
            offset = self._content(item, name)
            behind = offset + item.size
            if behind > start:
                raise self._wrong(f"its zip entry {name!r} goes on beyond its end")
            found[name] = Member(offset=offset, size=item.size)
        return found

    def _directory(self) -> tuple[int, int, int]:
        """Returns the directory's number of entries, size and offset."""
        end = self._size - _END.size
        signature, *disks, here, count, size, start, comment = _END.unpack(
            self._read(end, _END.size)
        )
        if signature != b"PK\5\6" or comment or any(disks) or here != count:
            raise self._wrong("it does not end with a zip directory")
        locator = self._read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
        if locator[:4] == b"PK\6\7":
            given = (count, size, start)
            end, (count, size, start) = self._directory_64(locator)
            for short, marker, long in zip(
                given, (_ELSEWHERE_16, _ELSEWHERE, _ELSEWHERE), (count, size, start), strict=True
            ):
                if short not in (marker, long):
                    raise self._wrong("its two zip directories disagree")
        if start + size != end:
            raise self._wrong("its zip directory is not at its end")
        return count, size, start

    def _directory_64(self, locator: bytes) -> tuple[int, tuple[int, int, int]]:
        _, disk, end, disks = _LOCATOR.unpack(locator)
        fields = _END_64.unpack(self._read(end, _END_64.size))
        signature, length, _, _, *own_disks, here, count, size, start = fields
        in_place = end + _END_64.size + _LOCATOR.size + _END.size == self._size
        if signature != b"PK\6\6" or length != _END_64.size - 12 or not in_place or here != count:
            raise self._wrong("its zip64 directory is not at its end")
        if disk or disks > 1 or any(own_disks):
            raise self._wrong("it is one of several parts of a zip file")
        return end, (count, size, start)

    def _listed(self, directory: bytes, count: int) -> Iterator[_Listed]:
        position = 0
        for _ in range(count):
            fields = _CENTRAL.unpack_from(directory, position)
            signature, _, _, flags, method, _, _, _, packed, size, *lengths = fields[:13]
            disk, _, _, header = fields[13:]
            name_at = position + _CENTRAL.size
            extra_at = name_at + lengths[0]
            position = extra_at + lengths[1] + lengths[2]
            if signature != b"PK\1\2" or position > len(directory):
                raise self._wrong("its zip directory is not whole")
            name = directory[name_at:extra_at]
            extra = directory[extra_at : extra_at + lengths[1]]
            size, packed, header = self._wide(extra, size, packed, header)
            if method != _STORED or packed != size:
                raise self._wrong(f"its zip entry {self._decoded(name)!r} is compressed")
            if flags & ~(_SIZES_FOLLOW | _UTF_8) or disk:
                raise self._wrong(f"its zip entry {self._decoded(name)!r} is not as torch saves it")
            yield _Listed(name=name, flags=flags, size=size, header=header)
        if position != len(directory):
            raise self._wrong("its zip directory has more entries than it says")

    def _wide(self, extra: bytes, *numbers: int) -> list[int]:
        """Returns numbers; those over 32 bits are in the zip64 extra field."""
        wide = b""
        while extra:
            kind, length = _EXTRA.unpack_from(extra)
            if kind == _ZIP_64:
                wide = extra[_EXTRA.size : _EXTRA.size + length]
            extra = extra[_EXTRA.size + length :]
        found = []
        for number in numbers:
            if number == _ELSEWHERE:
                (number,), wide = struct.unpack_from("<Q", wide), wide[8:]  # noqa: PLW2901
            found.append(number)
        return found

    def _content(self, item: _Listed, name: str) -> int:
        """Returns the offset of an entry's content.

        The entry's own header must agree with the directory, since some readers use one and some
        the other.
        """
        header = self._read(item.header, _LOCAL.size)
        signature, _, flags, method, _, _, _, *sizes, length, extra = _LOCAL.unpack(header)
        own_name = self._read(item.header + _LOCAL.size, length)
        own_sizes = {item.size, _ELSEWHERE} | ({0} if flags & _SIZES_FOLLOW else set())
        agrees = (signature, method, flags, own_name) == (b"PK\3\4", _STORED, item.flags, item.name)
        if not agrees or not own_sizes.issuperset(sizes):
            raise self._wrong(f"its zip entry {name!r} has another header than the directory says")
        return int(item.header + _LOCAL.size + length + extra)

    def _decoded(self, name: bytes) -> str:
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._wrong("the name of a zip entry is not UTF-8") from error

    def _read(self, offset: int, size: int) -> bytes:
        if offset < 0 or offset + size > self._size:
            raise self._wrong("its zip directory points beyond its end")
        self._stream.seek(offset)
        return self._stream.read(size)

    def _wrong(self, what: str) -> SourceError:
        return corrupt(self._file, what)
