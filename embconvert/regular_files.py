"""Files of a folder that others may write to: regular files inside of it, reached without links.

A path is walked part by part from the folder's descriptor and no part may be a link, so neither a
file nor a folder that is swapped meanwhile leads elsewhere. What is opened is looked at, not its
name.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath

from embconvert.errors import SourceError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe waits for a writer otherwise.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HINT = "remove it and convert the model again"


class IrregularFile(SourceError):  # noqa: N818 - a kind of file
    """There is something else in place of a file."""


def kind_of(mode: int) -> str:
    """Returns what an entry of a folder is, in words."""
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


@contextlib.contextmanager
def open_folder(folder: Path, parts: tuple[str, ...] = (), hint: str = _HINT) -> Iterator[int]:
    """Yields a descriptor of a folder, or of one below it.

    Args:
        folder: May be reached by links.
        parts: Names of folders below it, which may not be links.
        hint: For the error.

    Raises:
        IrregularFile: One of the parts is no folder.
        OSError: One cannot be opened.
    """
    descriptor = os.open(folder, _FOLDER)
    try:
        for number, part in enumerate(parts, start=1):
            try:
                below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                mode = os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode
                what = "a file" if stat.S_ISREG(mode) else kind_of(mode)
                where = folder.joinpath(*parts[:number])
                raise IrregularFile(f"{where} is {what}, where a folder must be", hint) from error
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(folder: Path, file: str, *, hint: str = _HINT) -> BufferedReader:
    """Opens a file of a folder for reading; never waits.

    Args:
        folder: May be reached by links.
        file: Its path in the folder, with forward slashes.
        hint: What to do when it is no regular file.

    Raises:
        IrregularFile: It is a link, a folder, a named pipe, a socket or a device, or one of its
            parent folders is no folder.
        FileNotFoundError: There is none.
        OSError: It cannot be opened.
    """
    path = PurePosixPath(file)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise IrregularFile(f"{file} is outside of {folder}", hint)
    with open_folder(folder, path.parts[:-1], hint) as parent:
        try:
            descriptor = os.open(path.name, _FILE, dir_fd=parent)
        except OSError as error:
            # ENXIO is what a socket says.
            if error.errno not in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
                raise
            mode = os.stat(path.name, dir_fd=parent, follow_symlinks=False).st_mode
            raise _irregular(folder / file, mode, hint) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _irregular(folder / file, mode, hint)
    return os.fdopen(descriptor, "rb")


def _irregular(path: Path, mode: int, hint: str) -> IrregularFile:
    return IrregularFile(f"{path} is {kind_of(mode)}, where a file must be", hint)


def hash_of(stream: BufferedIOBase) -> tuple[str, int]:
    """Returns the hex sha256 of an open file from its beginning, and its size in bytes."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size_bytes = stream.tell()
    stream.seek(0)
    return digest, size_bytes


def is_regular(folder: Path, file: str) -> bool:
    """Whether a folder has a regular file, reached without links."""
    try:
        open_regular(folder, file).close()
    except (OSError, IrregularFile):
        return False
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file atomically: readers never see a part of it, and no link is written through.

    Whatever has the name is replaced, a link itself too. The folder is opened once, so that one
    that is swapped meanwhile gets nothing.

    Args:
        path: Its folder may be reached by links.
        content: All of it.

    Raises:
        OSError: It cannot be written.
    """
    with open_folder(path.parent) as parent:
        temporary = f".embconvert-{secrets.token_hex(4)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o666, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            os.replace(temporary, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
