"""Reads files that a user names: only regular ones, up to a maximum size.

Opening a named pipe could wait forever, and a device may be endless. The size reported by the file
system is not reliable: it is 0 for files of /proc, and a file may grow while it is read.
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
    """A file cannot be read; the message continues a sentence that starts with its name."""


def open_user_file(path: Path) -> BinaryIO:
    """Opens a regular file, or the regular file that a link refers to.

    Raises:
        UnreadableFileError: It is missing, not readable, or not a regular file.
    """
    try:
        # Without O_NONBLOCK a pipe would wait for its writer; without O_NOCTTY a terminal could
        # become this process's controlling terminal. The check below uses the opened file, not the
        # path, which may have been replaced.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        # A socket, or a device without a driver, cannot be opened.
        kind = _kind_of(path)
        raise UnreadableFileError(
            f"is {kind}, not a regular file" if kind else f"cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise UnreadableFileError("cannot be read: its name is invalid") from error
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
    """Returns the content of a regular file.

    Args:
        most_bytes: Maximum size; never more is kept in memory.

    Raises:
        UnreadableFileError: It cannot be read, or is larger than that.
    """
    content = bytearray()
    with open_user_file(path) as stream:
        try:
            while piece := stream.read(min(_PIECE_BYTES, most_bytes + 1 - len(content))):
                content += piece
                if len(content) > most_bytes:
                    raise UnreadableFileError(f"is over {in_words(most_bytes)}")
        except OSError as error:
            raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    return bytes(content)


def read_text(path: Path, most_bytes: int) -> str:
    """Returns the text of a UTF-8 file without a byte order mark; see read_regular().

    Raises:
        UnreadableFileError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_regular(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(_not_utf_8(error)) from error


def read_lines(path: Path, *, most_bytes: int, most_line_bytes: int) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without line ends and without a byte order mark.

    Args:
        most_bytes: Maximum size of the file.
        most_line_bytes: Maximum size of a line; never more is kept in memory.

    Raises:
        UnreadableFileError: It cannot be read, is too large, or is not UTF-8.
    """
    size = 0
    with open_user_file(path) as stream:
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
                    f"has more than {in_words(most_line_bytes)} in line {number}"
                )
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UnreadableFileError(f"{_not_utf_8(error)}, in line {number}") from error


def _not_utf_8(error: UnicodeDecodeError) -> str:
    return f"is not UTF-8: {error.reason} at byte {error.start + 1}"


def in_words(size_bytes: int) -> str:
    """Returns a size in words: 64 MiB."""
    for shift, unit in ((20, "MiB"), (10, "KiB")):
        if size_bytes >> shift and size_bytes % (1 << shift) == 0:
            return f"{size_bytes >> shift} {unit}"
    return f"{size_bytes} bytes"
