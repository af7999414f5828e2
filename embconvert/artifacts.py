"""The output folder: staged beside it, published in one step, never half-made.

A run works in `.<name>.embconvert-staging` beside the output folder. Each finished file is noted
in a journal there, so a run that was killed is continued by the next one. At the end the staged
folder takes the place of the old one in a single rename; whoever looks sees the old complete
state or the new one.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from embconvert.container import mend_permission
from embconvert.errors import OutputError
from embconvert.manifest import MANIFEST_FILE, ArtifactRecord, Manifest, parse_manifest
from embconvert.model import FileRecord
from embconvert.onnx_file import hash_file

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_MAX_MANIFEST_BYTES = 1 << 26


@contextlib.contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """Turns what the operating system refuses into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(folder)).free
            raise OutputError(
                f"no room left on the disk of {folder}: {free / 1e6:.0f} MB are free",
                "free some room, or choose another --output_parent_dir",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{where} cannot be written: {error.strerror}",
                mend_permission(folder.parent),
            ) from error
        raise OutputError(
            f"{where} cannot be written: {error.strerror or error}",
            "choose another --output_parent_dir",
        ) from error


def _existing(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder, or None when it has none.

    Raises:
        ValueError: It is broken.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ValueError(f"{path} is absurdly large")
        return parse_manifest(json.loads(path.read_text(encoding="utf-8")))
    except (RecursionError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


class Staging:
    """The folder where a run works; a context manager that removes it.

    Only one run at a time works on an output folder; others wait.

    Attributes:
        folder: The staged folder.
        work: A folder for temporary files; never published.
    """

    def __init__(self, target: Path, say: Callable[[str], None]) -> None:
        self.target = target
        self.folder = target.parent / f".{target.name}.embconvert-staging"
        self.work = self.folder / ".work"
        self._say = say
        self._lock: int | None = None

    def __enter__(self) -> Self:
        with output_errors(self.target):
            if self.target.exists() and not self.target.is_dir():
                raise OutputError(
                    f"{self.target} is a file", "remove it, or choose another --output_parent_dir"
                )
            if self.target.is_dir() and not os.access(self.target, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.target))
            self._made_parents = [p for p in self.target.parents if not p.exists()]
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._acquire()
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
        return self

    def _acquire(self) -> None:
        """Makes the staging folder and locks it; the lock ends with the process, however it ends.

        The winner of a race renames or removes the folder, so the loser checks that what it
        locked is still the folder of that name.
        """
        waiting = False
        while True:
            self.folder.mkdir(exist_ok=True)
            lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    self._say(f"another run works on {self.target}; waiting for it")
                    waiting = True
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                same = self.folder.stat().st_ino == os.fstat(lock).st_ino
            except FileNotFoundError:
                same = False
            if same:
                self._lock = lock
                return
            os.close(lock)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        if kind is not None:
            # A run that failed leaves no trace, not even empty folders.
            for parent in self._made_parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def path(self, file: str) -> Path:
        """Returns where a file of the output folder is staged; its folder exists."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def journal(self) -> Manifest | None:
        """Returns what a run that was killed had finished; None when there is nothing of use."""
        try:
            return read_manifest(self.folder)
        except ValueError:
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Notes what is finished."""
        temporary = self.work / MANIFEST_FILE
        text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.folder / MANIFEST_FILE)

    def adopt(self, record: ArtifactRecord, folder: Path) -> bool:
        """Takes over a finished graph from the journal's or the published folder.

        Returns:
            Whether its files are there with the hashes that the record says.
        """
        files = [FileRecord(path=record.path, sha256=record.sha256, size_bytes=record.size_bytes)]
        if record.external_data is not None:
            files.append(record.external_data)
        for file in files:
            path = folder / file.path
            if not path.is_file() or path.is_symlink() or hash_file(path) != file.sha256:
                return False
        for file in files:
            self._link(folder / file.path, self.path(file.path))
        return True

    def add(self, source: Path, file: str) -> None:
        """Copies a file into the staged folder."""
        target = self.path(file)
        if not target.exists():
            shutil.copyfile(source, target)

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        """Makes target the same file as source, without a copy where the file system can."""
        if target.exists() and target.samefile(source):
            return
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)

    def other_files(self) -> tuple[FileRecord, ...]:
        """Returns the staged files that are no graphs, without the manifest."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            file = path.relative_to(self.folder).as_posix()
            if not path.is_file() or file == MANIFEST_FILE or file.startswith((".work/", "onnx/")):
                continue
            found.append(
                FileRecord(path=file, sha256=hash_file(path), size_bytes=path.stat().st_size)
            )
        return tuple(found)

    def publish(self, manifest: Manifest, old: Manifest | None) -> None:
        """Makes the staged folder the output folder.

        Files in the output folder that no manifest lists are the user's, and stay.

        Args:
            manifest: Of the staged folder; files that it doesn't list are not published.
            old: Of the output folder as it is.
        """
        self.write_manifest(manifest)
        shutil.rmtree(self.work)
        wanted = manifest.paths() | {MANIFEST_FILE}
        for path in self._files(self.folder):
            if path.relative_to(self.folder).as_posix() not in wanted:
                path.unlink()
        if self.target.is_dir():
            ours = (old.paths() if old else set()) | {MANIFEST_FILE}
            for path in self._files(self.target):
                file = path.relative_to(self.target).as_posix()
                if file not in ours and not (self.folder / file).exists():
                    self._link(path, self.path(file))
        _sync(self.folder)
        if not self.target.exists():
            self.folder.rename(self.target)
        elif _exchange(self.folder, self.target):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._publish_one_by_one(wanted, old)

    def _publish_one_by_one(self, wanted: Iterable[str], old: Manifest | None) -> None:
        """For file systems that cannot swap two folders: weights, graphs, the manifest last.

        A file counts only if the manifest lists it with its hash, so a reader is never misled.
        """
        self._say(f"{self.target.parent} cannot swap folders; publishing file by file")
        order = sorted(wanted, key=lambda f: (f == MANIFEST_FILE, f.endswith(".onnx"), f))
        for file in order:
            (self.target / file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / file).replace(self.target / file)
        for file in (old.paths() if old else set()) - set(order):
            (self.target / file).unlink(missing_ok=True)

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two folders in one step; returns False where that is not possible.

    Python has no call for renameat2(2).
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    arguments = (_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)
    return bool(rename(*arguments) == 0)


def _sync(folder: Path) -> None:
    """Brings a folder's files to the disk, so that a power cut cannot publish empty ones."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def prune(manifest: Manifest, keep: Iterable[str]) -> Manifest:
    """Returns the manifest with only these of its graphs."""
    keep = set(keep)
    return replace(manifest, artifacts=tuple(a for a in manifest.artifacts if a.path in keep))
