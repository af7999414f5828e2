"""What the operating system does with files and folders, and how it refuses."""

import contextlib
import ctypes
import errno
import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from embconvert.errors import OutputError
from embconvert.processes.container import MOUNT_HINT, inside_container, permission_hint
from embconvert.processes.limits import file_size_limit_bytes, limit_error

_RENAME_EXCHANGE = 2
# Less than a file system gives to the last file.
_NOTHING_BYTES = 1 << 14
_ELSEWHERE = "choose another --output_parent_dir"
# What file systems take for a name, unless they tell otherwise.
_NAME_BYTES = 255
_REFUSED = (errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def output_errors(folder: Path, elsewhere: str = _ELSEWHERE) -> Iterator[None]:
    """Turns what the operating system refuses into an OutputError that says what to do.

    Args:
        folder: What is written.
        elsewhere: How to write somewhere else, a hint.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        limit = limit_error(error)
        if limit is not None:
            raise limit from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(folder, elsewhere) from error
        if error.errno in (errno.EBUSY, errno.EXDEV):
            raise OutputError(
                f"{where} cannot be replaced: something is mounted there",
                "mount a folder above it, and let embconvert make the folder of the model",
            ) from error
        if error.errno in _REFUSED:
            raise OutputError(
                f"{where} cannot be written: {error.strerror}",
                permission_hint(_existing(folder), elsewhere),
            ) from error
        if error.errno == errno.EROFS and inside_container():
            raise OutputError(f"{where} cannot be written: {error.strerror}", MOUNT_HINT) from error
        if error.errno == errno.EFBIG:
            raise _too_large(folder) from error
        raise OutputError(
            f"{where} cannot be written: {error.strerror or error}",
            elsewhere,
        ) from error


def hidden_name(path: Path, ending: str, *, room: int = 0) -> str:
    """Returns the name of a hidden file that belongs to a path, beside it: `.NAME.ENDING`.

    Args:
        path: What it belongs to. A name that would become too long for the file system is cut, and
            a hash tells it from others that begin alike.
        ending: Tells what it is.
        room: How many more bytes the name must have room for.
    """
    name = os.fsencode(path.name)
    most = _longest_name(path.parent) - len(os.fsencode(ending)) - 2 - room
    if len(name) > most:
        digest = hashlib.sha256(name).hexdigest()[:16]
        # What is cut off in the middle of a letter is no letter.
        start = name[: max(0, most - len(digest) - 1)].decode("utf-8", "ignore")
        return f".{start}~{digest}.{ending}"
    return f".{path.name}.{ending}"


def _longest_name(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return os.pathconf(_existing(folder), "PC_NAME_MAX")
    return _NAME_BYTES


def full_disk(folder: Path) -> OutputError | None:
    """Returns the error for a disk that has nothing left; None while it has."""
    figures = os.statvfs(_existing(folder))
    # Some file systems have no fixed number of files, and say 0 of 0.
    without_inodes = figures.f_files > 0 and figures.f_favail == 0
    full = figures.f_bavail * figures.f_frsize < _NOTHING_BYTES
    return _no_room(folder) if full or without_inodes else None


def _no_room(folder: Path, elsewhere: str = _ELSEWHERE) -> OutputError:
    figures = os.statvfs(_existing(folder))
    free = f"{figures.f_bavail * figures.f_frsize / 1e6:.1f} MB are free"
    if figures.f_files > 0:
        free += f", and {figures.f_favail} more files are allowed"
    return OutputError(
        f"no room left on the disk of {folder}: {free}",
        f"free some room, or {elsewhere}",
    )


def _too_large(folder: Path) -> OutputError:
    limit = file_size_limit_bytes()
    allowed = (
        f"`ulimit -f` allows {limit / 1e6:.1f} MB" if math.isfinite(limit) else "File too large"
    )
    return OutputError(
        f"{folder} cannot be written: a file of it becomes too large ({allowed})",
        "raise the limit: ulimit -f unlimited",
    )


def refuse_full_disk(folder: Path, need_bytes: int, smaller: str = "") -> None:
    """Refuses a folder on whose disk there is too little room.

    Args:
        folder: Where something will be written.
        need_bytes: How much.
        smaller: How to write less, a part of a hint.

    Raises:
        OutputError: There is less.
    """
    free_bytes = shutil.disk_usage(_existing(folder)).free
    if need_bytes > free_bytes:
        raise OutputError(
            f"the disk of {folder} is too small: this needs about {need_bytes / 1e9:.1f} GB, "
            f"{free_bytes / 1e9:.1f} GB are free",
            f"free some room{', ' if smaller else ', or '}{_ELSEWHERE}"
            + (f", or {smaller}" if smaller else ""),
        )


def _existing(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if os.access(p, os.F_OK)), Path("/"))


def entries(folder: Path) -> list[Path]:
    """Returns all below a folder but folders that have something in them."""
    return [p for p in folder.rglob("*") if not is_folder(p) or not any(p.iterdir())]


def is_folder(path: Path) -> bool:
    """Whether a path is a folder itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def exchange(parent: int, a: str, b: str) -> bool:
    """Swaps two folders in one step; returns False where that is not possible.

    Args:
        parent: Descriptor of the folder that both are in.
        a: Name of the one.
        b: Name of the other.

    Python has no call for renameat2(2).
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    arguments = (parent, os.fsencode(a), parent, os.fsencode(b), _RENAME_EXCHANGE)
    return bool(rename(*arguments) == 0)


def sync(folder: Path) -> None:
    """Brings a folder's files to the disk, so that a power cut cannot publish empty ones."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
