"""Staging and publishing of the output folder: a complete state replaces the other.

A run works in `.<name>.embconvert-staging-<random>` next to the output folder. A journal there
lists finished files, so that the next run can continue a killed one. At the end a single rename
replaces the output folder by the staging folder; readers see the complete old state or the complete
new one.

Their parent folder is opened once, and all operations in it use that descriptor. The staging
folder's identity is checked, so a run ends if one of the folders is replaced by a link.

A lock lets one run at a time work on an output folder, but only to save work. Without locks, or
with locks per machine, runs never write to each other's staging folders, check what they take from
them, and publish by a rename.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from embconvert.errors import FidelityError, OutputError, UnsupportedModelError, UsageError
from embconvert.folder.copies import copy_open_file, link_or_copy
from embconvert.folder.disk import entries, full_disk, is_folder, output_errors, sync
from embconvert.folder.exchange import Exchange, new_sibling, staged_folders
from embconvert.folder.lock import FolderLock
from embconvert.folder.parent import Parent, identity
from embconvert.folder.published import read_manifest
from embconvert.graph.segments import MAPPED_SUFFIX
from embconvert.manifest import MANIFEST_FILE, PAGES, ArtifactRecord, Manifest
from embconvert.manifest.codec import as_text
from embconvert.models.forms import ENDINGS
from embconvert.models.source_records import FileRecord
from embconvert.processes.signals import uninterrupted
from embconvert.regular_files import IrregularFile, has_content, hash_of, open_regular

# Errors that are never caused by a full disk.
_NOT_OF_THE_DISK = (OutputError, UsageError, UnsupportedModelError, FidelityError)


def was_killed(target: Path) -> bool:
    """Whether a run at an output folder was killed, or works there now."""
    return bool(staged_folders(target))


def read_journals(folders: Iterable[Path]) -> list[tuple[Manifest, Path]]:
    """Returns what runs had finished in their staged folders, each with its folder."""
    found = []
    for folder in folders:
        with contextlib.suppress(ValueError):
            manifest = read_manifest(folder)
            if manifest is not None:
                found.append((manifest, folder))
    return found


class Staging:
    """The staging folder of a run; a context manager that removes it.

    Other runs on the same output folder wait.

    Args:
        say: Reports waiting.
        open_parent: Opens the parent of the output folder, in which names change.

    Attributes:
        work: A folder for temporary files; never published.
    """

    def __init__(
        self,
        target: Path,
        say: Callable[[str], None],
        open_parent: Callable[[Path], Parent] = Parent,
    ) -> None:
        # Replace the target of a link, not the link.
        with output_errors(target):
            self.target = target.resolve() if target.is_symlink() else target
        self.folder = new_sibling(self.target, "staging")
        self.work = self.folder / ".work"
        self._lock = FolderLock(self.target, say)
        self._open_parent = open_parent
        self._exchange: Exchange | None = None
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
        self._exchange = Exchange(self.target, self._open_parent(self.target.parent))
        self._lock.acquire()
        self._exchange.bring_back()
        self._leftovers = self._exchange.siblings("staging")
        self._remove_temporary_files()
        self._identity = self._exchange.parent.make(self.folder.name)
        self.work.mkdir()

    def _remove_temporary_files(self) -> None:
        """Removes files that killed runs were about to rename: pages and manifests."""
        for name in (MANIFEST_FILE, *PAGES):
            path = self.target / f".{name}.new"
            if path.is_file() and not path.is_symlink():
                path.unlink()

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        refusal = self._refusal(error)
        self._close(failed=kind is not None)
        if refusal is not None:
            raise refusal from error

    def _refusal(self, error: BaseException | None) -> OutputError | None:
        """Returns the disk's problem, if any; libraries report a full disk in many ways."""
        if self._published or not isinstance(error, Exception):
            return None
        if isinstance(error, _NOT_OF_THE_DISK):
            return None
        return full_disk(self.target) if self.folder.is_dir() else self._removed()

    def _check_place(self) -> None:
        """Raises OutputError if the staging folder or its parent was replaced."""
        assert self._exchange is not None
        try:
            if not self._exchange.parent.is_in_place:
                raise OutputError(
                    f"{self.target.parent} was replaced during the run", "run the command again"
                )
            folder = self.folder.lstat()
        except OSError as error:
            raise self._removed() from error
        if stat.S_ISLNK(folder.st_mode):
            raise OutputError(
                f"{self.folder} was replaced by a link", "remove it and run the command again"
            )
        if identity(folder) != self._identity:
            raise self._removed()

    def _removed(self) -> OutputError:
        return OutputError(f"{self.folder} was removed during the run", "run the command again")

    def _close(self, *, failed: bool) -> None:
        with uninterrupted():
            # Keep finished files of killed runs until everything is published.
            if self._exchange is not None:
                for folder in (self.folder, *(() if failed else self._leftovers)):
                    self._exchange.discard(folder)
                if self._lock.is_held:
                    self._exchange.bring_back()
                    self._lock.release()
                self._exchange.parent.close()
                self._exchange = None
            if failed:
                # A failed run leaves no empty folders.
                for parent in self._made_parents:
                    with contextlib.suppress(OSError):
                        parent.rmdir()

    def path(self, file: str) -> Path:
        """Returns the staged path of a file of the output folder; creates its folder."""
        self._check_place()
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def discard(self, file: str) -> None:
        """Removes a staged graph and its external data."""
        for name in (file, f"{file}_data"):
            (self.folder / name).unlink(missing_ok=True)

    def journals(self) -> list[tuple[Manifest, Path]]:
        """Returns what runs that were killed had finished, each with its folder."""
        return read_journals(self._leftovers)

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the journal of finished files."""
        self._check_place()
        temporary = self.work / MANIFEST_FILE
        temporary.write_text(as_text(manifest), encoding="utf-8")
        temporary.replace(self.folder / MANIFEST_FILE)

    def adopt(self, record: ArtifactRecord, folder: Path, file: str) -> bool:
        """Takes over a finished graph of a killed run or of the published folder.

        Args:
            folder: Contains the graph at the record's path.
            file: Target path; equals the record's for a graph with further files, such as external
                data, whose name it contains.

        Returns:
            Whether its files exist with the hashes of the record.
        """
        try:
            for part in record.files:
                with open_regular(folder, part.path) as source:
                    staged = self.path(file if part.path == record.path else part.path)
                    link_or_copy(folder / part.path, staged)
                    # The path may lead elsewhere by now, or another run may have replaced the file,
                    # so the linked file must be the one that was opened.
                    if identity(staged.lstat()) != identity(os.fstat(source.fileno())):
                        copy_open_file(source, staged)
                if not self._is_staged(part, staged):
                    staged.unlink()
                    return False
        except (FileNotFoundError, IrregularFile):  # for example, its run was still alive
            return False
        return True

    def _is_staged(self, record: FileRecord, staged: Path) -> bool:
        with open_regular(self.folder, staged.relative_to(self.folder).as_posix()) as stream:
            return has_content(stream, record.sha256, record.size_bytes)

    def add_listed(self, folder: Path, record: FileRecord) -> bool:
        """Copies a file of a manifest, over a staged one; returns whether it is what was listed."""
        try:
            source = open_regular(folder, record.path)
        except FileNotFoundError:
            return False
        with source:
            if not has_content(source, record.sha256, record.size_bytes):
                return False
            copy_open_file(source, self.path(record.path))
        return True

    def add(self, source: Path, file: str) -> None:
        """Copies a file into the staging folder, unless it is staged already."""
        target = self.path(file)
        if not target.exists():
            shutil.copyfile(source, target)

    def other_files(self) -> tuple[FileRecord, ...]:
        """Returns the staged files except graphs, the manifest and the pages.

        Temporary graphs are not among them: a job beside this one may remove them at any moment.
        """
        found = []
        for path in sorted(self.folder.rglob("*")):
            file = path.relative_to(self.folder).as_posix()
            graph = file.endswith((*ENDINGS, ".onnx_data", MAPPED_SUFFIX))
            if path.is_symlink() or not path.is_file() or file.startswith(".work/") or graph:
                continue
            if file in (MANIFEST_FILE, *PAGES):
                continue
            with open_regular(self.folder, file) as stream:
                sha256, size_bytes = hash_of(stream)
            found.append(FileRecord(path=file, sha256=sha256, size_bytes=size_bytes))
        return tuple(found)

    def complete(self, manifest: Manifest, old: Manifest | None) -> None:
        """Makes the staging folder what the output folder will be, and writes it to the disk.

        Files in the output folder that no manifest lists belong to the user and are kept.

        Args:
            manifest: Of the staging folder; other files in it are not published.
            old: Of the current output folder.
        """
        self.write_manifest(manifest)
        shutil.rmtree(self.work)
        wanted = manifest.paths() | {MANIFEST_FILE}
        for path in entries(self.folder):
            if path.relative_to(self.folder).as_posix() not in wanted:
                path.rmdir() if is_folder(path) else path.unlink()
        if self.target.is_symlink():
            raise OutputError(
                f"{self.target} was replaced by a link", "remove it and run the command again"
            )
        if self.target.is_dir():
            ours = (old.paths() if old else set()) | {MANIFEST_FILE}
            for path in entries(self.target):
                file = path.relative_to(self.target).as_posix()
                if file not in ours and not (self.folder / file).exists():
                    link_or_copy(path, self.path(file))
            shutil.copymode(self.target, self.folder)
        sync(self.folder)
        if not (self.folder / MANIFEST_FILE).is_file():
            # Without locks, another run took the folder for that of a killed run and removed it;
            # the current folder of this name is newer.
            raise self._removed()

    def swap(self) -> None:
        """Replaces the output folder by the staging folder, which must be complete."""
        self._check_place()
        self._published = True
        assert self._exchange is not None
        self._exchange.publish(self.folder)
