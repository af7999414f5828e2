"""The output folder: staged beside it, published in one step, never half-made.

A run works in `.<name>.embconvert-staging-<random>` beside the output folder. Each finished file is
noted in a journal there, so a run that was killed is continued by the next one. At the end the
staged folder takes the place of the old one in a single rename; whoever looks sees the old complete
state or the new one.

The folder above both is opened once. What is made, renamed and removed in it goes by that
descriptor, and the staged folder must be the one that was made, so a folder that is swapped for a
link in mid-run ends the run.

A lock lets one run at a time work on an output folder. Nothing depends on it but the work that it
saves: where a file system has no locks, or each machine its own, no run writes in another's staged
folder, what it takes from there it checks and never changes, and publishing is a rename.
"""

import contextlib
import errno
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from io import BufferedReader
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from embconvert.errors import FidelityError, OutputError, UnsupportedModelError, UsageError
from embconvert.folder.disk import (
    entries,
    exchange,
    full_disk,
    hidden_name,
    is_folder,
    output_errors,
    sync,
)
from embconvert.folder.lock import FolderLock
from embconvert.folder.parent import Parent, identity
from embconvert.folder.published import read_manifest
from embconvert.manifest import MANIFEST_FILE, PAGES, ArtifactRecord, Manifest
from embconvert.manifest.codec import as_text
from embconvert.models.values import FileRecord
from embconvert.processes.signals import uninterrupted
from embconvert.regular_files import IrregularFile, hash_of, open_regular

_RANDOM_BYTES = 4
# What a full disk never is the reason of.
_NOT_OF_THE_DISK = (OutputError, UsageError, UnsupportedModelError, FidelityError)


def was_killed(target: Path) -> bool:
    """Whether a run at an output folder was killed, or works there now."""
    return any(target.parent.glob(glob.escape(_prefix(target, "staging")) + "*"))


def _prefix(target: Path, kind: str) -> str:
    return hidden_name(target, f"embconvert-{kind}-", room=2 * _RANDOM_BYTES)


class Staging:
    """The folder where a run works; a context manager that removes it.

    Only one run at a time works on an output folder; others wait.

    Attributes:
        folder: The staged folder.
        work: A folder for temporary files; never published.
    """

    def __init__(self, target: Path, say: Callable[[str], None]) -> None:
        # What a link points to is replaced, not the link.
        with output_errors(target):
            self.target = target.resolve() if target.is_symlink() else target
        self.folder = self._sibling("staging")
        self.work = self.folder / ".work"
        self._lock = FolderLock(self.target, say)
        self._parent: Parent | None = None
        self._identity: tuple[int, int] | None = None
        self._leftovers: list[Path] = []
        self._made_parents: list[Path] = []
        self._published = False

    def __enter__(self) -> Self:
        try:
            with output_errors(self.target):
                self._open()
        except BaseException:
            self._close(failed=True)
            raise
        return self

    def _open(self) -> None:
        if self.target.exists() and not self.target.is_dir():
            raise OutputError(
                f"{self.target} is a file", "remove it, or choose another --output_parent_dir"
            )
        if self.target.is_dir() and not os.access(self.target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.target))
        self._made_parents = [p for p in self.target.parents if not p.exists()]
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._parent = Parent(self.target.parent)
        self._lock.acquire()
        self._bring_back()
        self._leftovers = self._siblings("staging")
        self._remove_temporary_files()
        self._identity = self._parent.make(self.folder.name)
        self.work.mkdir()

    def _remove_temporary_files(self) -> None:
        """Removes what killed runs were about to rename in the output folder: pages, a manifest."""
        names = [f".{name}.new" for name in (MANIFEST_FILE, *PAGES)]
        # Beside graphs that it read, a version before 0.1.0 wrote these.
        graphs = self.target.glob("onnx/.*.onnx.layers"), self.target.glob("onnx/.*.onnx.mapped")
        for path in (*(self.target / name for name in names), *chain(*graphs)):
            if path.is_file() and not path.is_symlink():
                path.unlink()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        refusal = self._refusal(error)
        self._close(failed=kind is not None)
        if refusal is not None:
            raise refusal from error

    def _refusal(self, error: BaseException | None) -> OutputError | None:
        """Returns what is wrong with the disk; libraries that fail of it tell so in many ways."""
        if self._published or not isinstance(error, Exception):
            return None
        if isinstance(error, _NOT_OF_THE_DISK):
            return None
        return full_disk(self.target) if self.folder.is_dir() else self._removed()

    def _check_place(self) -> None:
        """Refuses to go on where something took the staged folder's place, or its parent's.

        Raises:
            OutputError: That is so.
        """
        assert self._parent is not None
        try:
            if not self._parent.is_in_place:
                raise OutputError(
                    f"{self.target.parent} was replaced while the run worked in it", "run it again"
                )
            folder = self.folder.lstat()
        except OSError as error:
            raise self._removed() from error
        if stat.S_ISLNK(folder.st_mode):
            raise OutputError(f"{self.folder} was replaced by a link", "remove it and run it again")
        if identity(folder) != self._identity:
            raise self._removed()

    def _removed(self) -> OutputError:
        return OutputError(f"{self.folder} was removed while the run worked in it", "run it again")

    def _close(self, *, failed: bool) -> None:
        with uninterrupted():
            # What killed runs had finished is of use until all is published.
            for folder in (self.folder, *(() if failed else self._leftovers)):
                self._discard(folder)
            if self._lock.is_held:
                self._bring_back()
                self._lock.release()
            if self._parent is not None:
                self._parent.close()
                self._parent = None
            if failed:
                # A run that failed leaves no trace, not even empty folders.
                for parent in self._made_parents:
                    with contextlib.suppress(OSError):
                        parent.rmdir()

    def path(self, file: str) -> Path:
        """Returns where a file of the output folder is staged; its folder exists.

        Raises:
            OutputError: The staged folder is gone.
        """
        self._check_place()
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def discard(self, file: str) -> None:
        """Removes a staged graph, with its external data."""
        for name in (file, f"{file}_data"):
            (self.folder / name).unlink(missing_ok=True)

    def journals(self) -> list[tuple[Manifest, Path]]:
        """Returns what runs that were killed had finished, each with its folder."""
        found = []
        for folder in self._leftovers:
            with contextlib.suppress(ValueError):
                manifest = read_manifest(folder)
                if manifest is not None:
                    found.append((manifest, folder))
        return found

    def write_manifest(self, manifest: Manifest) -> None:
        """Notes what is finished."""
        self._check_place()
        temporary = self.work / MANIFEST_FILE
        temporary.write_text(as_text(manifest), encoding="utf-8")
        temporary.replace(self.folder / MANIFEST_FILE)

    def adopt(self, record: ArtifactRecord, folder: Path, file: str) -> bool:
        """Takes over a finished graph from the journal's or the published folder.

        Args:
            record: The graph's.
            folder: Has it at the record's path.
            file: Where it goes; another path than the record's only without external data,
                whose name is inside the graph.

        Returns:
            Whether its files are there with the hashes that the record says.
        """
        files = [FileRecord(path=record.path, sha256=record.sha256, size_bytes=record.size_bytes)]
        if record.external_data is not None:
            files.append(record.external_data)
        try:
            for part in files:
                with open_regular(folder, part.path) as source:
                    staged = self.path(file if part is files[0] else part.path)
                    self._link(folder / part.path, staged)
                    # The name may lead elsewhere by now, and another run may have replaced the
                    # file: what was linked must be what was opened, and is compared.
                    if identity(staged.lstat()) != identity(os.fstat(source.fileno())):
                        self._copy(source, staged)
                if not self._is_staged(part, staged):
                    staged.unlink()
                    return False
        except (FileNotFoundError, IrregularFile):  # its run was not dead after all, or worse
            return False
        return True

    def _is_staged(self, record: FileRecord, staged: Path) -> bool:
        with open_regular(self.folder, staged.relative_to(self.folder).as_posix()) as stream:
            return hash_of(stream) == (record.sha256, record.size_bytes)

    @staticmethod
    def _copy(source: BufferedReader, target: Path) -> None:
        target.unlink(missing_ok=True)
        with target.open("xb") as stream:
            shutil.copyfileobj(source, stream)

    def add_listed(self, folder: Path, record: FileRecord) -> bool:
        """Copies a file that a manifest lists, unless there is a staged one.

        Args:
            folder: Has it.
            record: The manifest's.

        Returns:
            Whether the file is there, and what the manifest lists.

        Raises:
            IrregularFile: There is something else in its place.
        """
        target = self.path(record.path)
        if target.exists():
            return True
        try:
            source = open_regular(folder, record.path)
        except FileNotFoundError:
            return False
        with source:
            if hash_of(source) != (record.sha256, record.size_bytes):
                return False
            self._copy(source, target)
        return True

    def add(self, source: Path, file: str) -> None:
        """Copies a file into the staged folder."""
        target = self.path(file)
        if not target.exists():
            shutil.copyfile(source, target)

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        """Makes target the same file as source, without a copy where the file system can."""
        if is_folder(source):
            target.mkdir(exist_ok=True)
            return
        if target.exists() and target.samefile(source):
            return
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target, follow_symlinks=False)

    def other_files(self) -> tuple[FileRecord, ...]:
        """Returns the staged files that are no graphs, without the manifest and the pages."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            file = path.relative_to(self.folder).as_posix()
            graph = file.endswith((".onnx", ".onnx_data"))
            if path.is_symlink() or not path.is_file() or file.startswith(".work/") or graph:
                continue
            if file in (MANIFEST_FILE, *PAGES):
                continue
            with open_regular(self.folder, file) as stream:
                sha256, size_bytes = hash_of(stream)
            found.append(FileRecord(path=file, sha256=sha256, size_bytes=size_bytes))
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
        for path in entries(self.folder):
            if path.relative_to(self.folder).as_posix() not in wanted:
                path.rmdir() if is_folder(path) else path.unlink()
        if self.target.is_symlink():
            raise OutputError(f"{self.target} was replaced by a link", "remove it, run it again")
        if self.target.is_dir():
            ours = (old.paths() if old else set()) | {MANIFEST_FILE}
            for path in entries(self.target):
                file = path.relative_to(self.target).as_posix()
                if file not in ours and not (self.folder / file).exists():
                    self._link(path, self.path(file))
            shutil.copymode(self.target, self.folder)
        sync(self.folder)
        if not (self.folder / MANIFEST_FILE).is_file():
            # Without locks, another run took the folder for one of a killed run and removed it;
            # what has this name now was made since.
            raise self._removed()
        self._check_place()
        self._published = True
        if self._rename():
            return
        assert self._parent is not None
        if exchange(self._parent.descriptor, self.folder.name, self.target.name):
            self._discard(self.folder)
        else:
            self._replace()

    def _rename(self) -> bool:
        """Makes the staged folder the output folder, if there is none."""
        try:
            # Where it is there, and not empty, rename(2) says so in one of two ways.
            self._move(self.folder, self.target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def _move(self, folder: Path, to: Path) -> None:
        assert self._parent is not None
        self._parent.move(folder.name, to.name)

    def _replace(self) -> None:
        """For file systems that cannot swap two folders: the old one steps aside first.

        For an instant there is no output folder. A run that is killed just then leaves the old one
        aside, and the next one brings it back.
        """
        while True:
            aside = self._sibling("old")
            # Without locks, another run may be here too; then the last one stays.
            with contextlib.suppress(FileNotFoundError):
                self._move(self.target, aside)
            published = self._rename()
            self._discard(aside)
            if published:
                return

    def _bring_back(self) -> None:
        for aside in self._siblings("old"):
            try:
                self._move(aside, self.target)
            except OSError:  # the output folder is there
                self._discard(aside)

    def _discard(self, folder: Path) -> None:
        """Removes a folder; first its name, so that no other run publishes it half removed."""
        if self._parent is None:
            return
        trash = self._sibling("trash")
        with contextlib.suppress(OSError):
            self._move(folder, trash)
        for path in (trash, *self._siblings("trash")):  # those of killed runs too
            self._parent.remove(path.name)

    def _sibling(self, kind: str) -> Path:
        return (
            self.target.parent / f"{_prefix(self.target, kind)}{secrets.token_hex(_RANDOM_BYTES)}"
        )

    def _siblings(self, kind: str) -> list[Path]:
        """Returns the folders of a kind beside the output folder; no links to folders."""
        if self._parent is None:
            return []
        assert self._parent is not None
        prefix = _prefix(self.target, kind)
        # A version before 0.1.0 knew one of each kind, without a random part.
        older = prefix.removesuffix("-")
        names = self._parent.folders(older)
        return [
            self.target.parent / name for name in names if name == older or name.startswith(prefix)
        ]
