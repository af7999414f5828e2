"""Files that a user names: regular ones only, and never more of them than a bound allows.

A named pipe would wait for a writer for ever, a device may have no end, and the size that the file
system tells is no bound: files of /proc say 0, and others grow while they are read.
"""

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_PIECE_BYTES = 1 << 20


class UnreadableFileError(ValueError):
    """A file cannot be read; the message is what to write after the file's name."""


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file, or what a link to one names.

    Raises:
        UnreadableFileError: It is missing, forbidden, or no regular file.
    """
    try:
        # Opening a pipe would wait for its writer, and a terminal might become this process's own.
        # What was opened is looked at, not the path, which may name another file by now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        # A socket, and a device without a driver, cannot even be opened.
        kind = _kind_of(path)
        raise UnreadableFileError(
            f"is {kind}, not a regular file" if kind else f"cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise UnreadableFileError("cannot be read: no file can have this name") from error
    kind = _KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode))
    if kind is not None:
        os.close(descriptor)
        raise UnreadableFileError(f"is {kind}, not a regular file")
    return os.fdopen(descriptor, "rb")


def _kind_of(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    return None


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Returns what a regular file holds.

    Args:
        path: The file.
        most_bytes: Bound of its size; no more is ever held.

    Raises:
        UnreadableFileError: It cannot be read, or is larger.
    """
    content = bytearray()
    with open_regular(path) as stream:
        try:
            while piece := stream.read(min(_PIECE_BYTES, most_bytes + 1 - len(content))):
                content += piece
                if len(content) > most_bytes:
                    raise UnreadableFileError(f"is over {in_words(most_bytes)}")
        except OSError as error:
            raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    return bytes(content)


def read_text(path: Path, most_bytes: int) -> str:
    """Returns the text of a UTF-8 file, without a byte order mark; bounded as read_regular().

    Raises:
        UnreadableFileError: As read_regular(), or it is not UTF-8.
    """
    try:
        return read_regular(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(_not_utf_8(error)) from error


def read_lines(path: Path, *, most_bytes: int, most_line_bytes: int) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without their ends; a byte order mark is no part of it.

    Args:
        path: The file.
        most_bytes: Bound of the file's size.
        most_line_bytes: Bound of a line's size; no more is held at a time.

    Raises:
        UnreadableFileError: It cannot be read, is larger, or is not UTF-8.
    """
    size = 0
    with open_regular(path) as stream:
        for number in itertools.count(1):
            try:
                line = stream.readline(most_line_bytes + 2)
            except OSError as error:
                raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
            if not line:
                return
            size += len(line)
            if size > most_bytes:
                raise UnreadableFileError(f"is over {in_words(most_bytes)}")
            line = line.removesuffix(b"\n")
            if len(line) > most_line_bytes:
                raise UnreadableFileError(
                    f"has a line {number} of over {in_words(most_line_bytes)}"
                )
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UnreadableFileError(f"{_not_utf_8(error)}, in line {number}") from error


def _not_utf_8(error: UnicodeDecodeError) -> str:
    return f"is not UTF-8: {error.reason} at byte {error.start + 1}"


def in_words(size_bytes: int) -> str:
    """Returns a bound as it is said: 64 MiB."""
    for shift, unit in ((20, "MiB"), (10, "KiB")):
        if size_bytes >> shift and size_bytes % (1 << shift) == 0:
            return f"{size_bytes >> shift} {unit}"
    return f"{size_bytes} bytes"
