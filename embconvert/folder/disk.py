"""File system operations, and their errors in the user's words."""

import contextlib
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

# A file system with less free space is full.
_NOTHING_BYTES = 1 << 14
_ELSEWHERE = "choose another --output_parent_dir"
# The usual limit of file systems.
_NAME_BYTES = 255
_REFUSED = (errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def output_errors(folder: Path, elsewhere: str = _ELSEWHERE) -> Iterator[None]:
    """Turns OSErrors into OutputErrors, with `elsewhere` as the hint to write to another place."""
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
                "mount a parent folder, and let embconvert create the model's folder",
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
            f"{where} cannot be written: {error.strerror or error}", elsewhere
        ) from error


def hidden_name(path: Path, ending: str, *, room: int = 0) -> str:
    """Returns `.NAME.ENDING`, the name of a hidden file next to a path.

    Args:
        path: If its name is too long for the file system, it is shortened and gets a hash.
        room: Bytes to reserve in the name.
    """
    name = os.fsencode(path.name)
    most = _longest_name(path.parent) - len(os.fsencode(ending)) - 2 - room
    if len(name) > most:
        digest = hashlib.sha256(name).hexdigest()[:16]
        # The cut may be inside a character.
        start = name[: max(0, most - len(digest) - 1)].decode("utf-8", "ignore")
        return f".{start}~{digest}.{ending}"
    return f".{path.name}.{ending}"


def _longest_name(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return os.pathconf(_existing(folder), "PC_NAME_MAX")
    return _NAME_BYTES


def full_disk(folder: Path) -> OutputError | None:
    """Returns an error if the disk is full."""
    figures = os.statvfs(_existing(folder))
    # File systems without a fixed number of files report 0 of 0.
    without_inodes = figures.f_files > 0 and figures.f_favail == 0
    full = figures.f_bavail * figures.f_frsize < _NOTHING_BYTES
    return _no_room(folder) if full or without_inodes else None


def _no_room(folder: Path, elsewhere: str = _ELSEWHERE) -> OutputError:
    figures = os.statvfs(_existing(folder))
    free = f"{figures.f_bavail * figures.f_frsize / 1e6:.1f} MB are free"
    if figures.f_files > 0:
        free += f", and {figures.f_favail} more files are allowed"
    return OutputError(f"the disk of {folder} is full: {free}", f"free some space, or {elsewhere}")


def _too_large(folder: Path) -> OutputError:
    limit = file_size_limit_bytes()
    allowed = (
        f"`ulimit -f` allows {limit / 1e6:.1f} MB" if math.isfinite(limit) else "File too large"
    )
    return OutputError(
        f"{folder} cannot be written: a file is too large ({allowed})",
        "raise the limit: ulimit -f unlimited",
    )


def refuse_full_disk(folder: Path, need_bytes: int, smaller: str = "") -> None:
    """Raises OutputError, with `smaller` in its hint, if a folder's disk has too little space."""
    free_bytes = shutil.disk_usage(_existing(folder)).free
    if need_bytes > free_bytes:
        raise OutputError(
            f"the disk of {folder} has too little space: about {need_bytes / 1e9:.1f} GB are "
            f"needed, {free_bytes / 1e9:.1f} GB are free",
            f"free some space{', ' if smaller else ', or '}{_ELSEWHERE}"
            + (f", or {smaller}" if smaller else ""),
        )


def refuse_unwritable(folder: Path) -> None:
    """Raises OSError for a folder in which nothing can be written, or which cannot be made."""
    existing = _existing(folder)
    if not existing.is_dir():
        code = errno.ENOTDIR
    elif os.access(existing, os.W_OK | os.X_OK):
        return
    else:
        is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
        code = errno.EROFS if is_read_only else errno.EACCES
    raise OSError(code, os.strerror(code), str(existing))


def _existing(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if os.access(p, os.F_OK)), Path("/"))


def entries(folder: Path) -> list[Path]:
    """Returns all files, links and empty folders below a folder."""
    return [p for p in folder.rglob("*") if not is_folder(p) or not any(p.iterdir())]


def is_folder(path: Path) -> bool:
    """Whether a path is a folder and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def sync(folder: Path) -> None:
    """Flushes a folder's files to disk, so that a power failure cannot leave empty ones."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
