"""Reads and replaces regular files in a folder that others may write to, without following links.

Each part of a path is opened from its parent's descriptor and must not be a link, so a file or
folder that is replaced at the same time cannot redirect the access. Checks use the opened file, not
its name.
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
# O_NONBLOCK: otherwise opening a named pipe waits for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HINT = "remove it and convert the model again"


class IrregularFile(SourceError):  # noqa: N818 - named after the object
    """A link, folder or other object is where a regular file must be."""


def kind_of(mode: int) -> str:
    """Returns the kind of a folder's entry, in words."""
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
    """Yields a descriptor of a folder, or of a folder below it.

    Args:
        folder: May be reached through links.
        parts: Names of the folders below it, none of which may be a link.
        hint: Hint of the error.

    Raises:
        IrregularFile: One of the parts is not a folder.
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
                raise IrregularFile(f"{where} is {what}, not a folder", hint) from error
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(folder: Path, file: str, *, hint: str = _HINT) -> BufferedReader:
    """Opens a file of a folder for reading; never waits.

    Args:
        folder: May be reached through links.
        file: Path relative to the folder, with forward slashes.
        hint: Hint if it is not a regular file.

    Raises:
        IrregularFile: It is a link, folder, named pipe, socket or device, or one of its parents is
            not a folder.
        FileNotFoundError: It does not exist.
        OSError: It cannot be opened.
    """
    path = PurePosixPath(file)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise IrregularFile(f"{file} is outside of {folder}", hint)
    with open_folder(folder, path.parts[:-1], hint) as parent:
        try:
            descriptor = os.open(path.name, _FILE, dir_fd=parent)
        except OSError as error:
            # ENXIO: a socket.
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
    return IrregularFile(f"{path} is {kind_of(mode)}, not a file", hint)


def hash_of(stream: BufferedIOBase) -> tuple[str, int]:
    """Returns the hex sha256 of an open file, from its beginning, and its size in bytes."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size_bytes = stream.tell()
    stream.seek(0)
    return digest, size_bytes


def has_content(stream: BufferedIOBase, sha256: str, size_bytes: int) -> bool:
    """Whether an open file has a content, by its hash and size; the next read is at its beginning.

    A file of another size is not read: it may be sparse, and would take hours.
    """
    has_size = stream.seek(0, os.SEEK_END) == size_bytes
    stream.seek(0)
    return has_size and hash_of(stream) == (sha256, size_bytes)


def is_regular(folder: Path, file: str) -> bool:
    """Whether a folder has a regular file at a path without links."""
    try:
        open_regular(folder, file).close()
    except (OSError, IrregularFile):
        return False
    return True


def replace_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Writes a file atomically and without following links.

    Anything with that name is replaced, also a link. The folder is opened once, so nothing is
    written to a folder that replaces it at the same time.

    Args:
        path: Its folder may be reached through links.
        mode: Permissions, from which the process's umask takes away.

    Raises:
        OSError: It cannot be written.
    """
    with open_folder(path.parent) as parent:
        temporary = f".embconvert-{secrets.token_hex(4)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, mode, dir_fd=parent)
        except OSError as error:
            error.filename = str(path)  # a user knows nothing of the temporary one
            raise
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            os.replace(temporary, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
