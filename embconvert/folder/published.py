"""Reads published folders."""

import shutil
from io import BufferedIOBase
from pathlib import Path

from embconvert.errors import SourceError, UsageError
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest.codec import MAX_BYTES, BrokenManifest, OlderManifest, parse_manifest
from embconvert.models.source_records import FileRecord
from embconvert.regular_files import IrregularFile, has_content, is_regular, open_regular

_AGAIN = "convert the model again; intact files are reused"


class UnreadableManifestError(ValueError):
    """The system does not let us read the manifest."""


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder, or None if it has none.

    Raises:
        OlderManifest: An older version of embconvert wrote the manifest.
        ValueError: The manifest is broken, or not a regular file.
    """
    try:
        return _read(folder)
    except IrregularFile as error:
        raise ValueError(error.message) from error


def _read(folder: Path) -> Manifest | None:
    try:
        with open_regular(folder, MANIFEST_FILE) as stream:
            return parse_manifest_stream(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        path = folder / MANIFEST_FILE
        raise UnreadableManifestError(f"{path} cannot be read: {error.strerror}") from error
    except BrokenManifest as error:
        raise type(error)(f"{folder / MANIFEST_FILE}: {error}") from error


def parse_manifest_stream(stream: BufferedIOBase) -> Manifest:
    return parse_manifest(stream.read(MAX_BYTES + 1))


def problem_of(folder: Path, record: FileRecord) -> str | None:
    """Returns how a file differs from the manifest, in words; raises IrregularFile for a link."""
    try:
        with open_regular(folder, record.path) as stream:
            return difference(stream, record)
    except FileNotFoundError:
        return f"{record.path} is missing"
    except OSError as error:
        return f"{record.path} cannot be read: {error.strerror}"


def difference(stream: BufferedIOBase, record: FileRecord) -> str | None:
    """Returns how an open file differs from the manifest, in words; None if it does not."""
    if not has_content(stream, record.sha256, record.size_bytes):
        return f"{record.path} is not the file that the manifest lists"
    return None


def copy_listed(folder: Path, record: FileRecord, target: Path) -> None:
    """Copies a file of a manifest, and checks the copy.

    Args:
        target: Folder that gets the file under the same path.

    Raises:
        SourceError: The file is missing, differs from the manifest, or is not a regular file.
        OSError: The copy cannot be written.
    """
    path = target / record.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stream = open_regular(folder, record.path)
    except OSError as error:
        raise SourceError(f"{folder / record.path}: {error.strerror}", _AGAIN) from error
    with stream, path.open("w+b") as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        problem = difference(copy, record)
    if problem is not None:
        raise SourceError(f"{folder} is damaged: {problem}", _AGAIN)


def has_size(folder: Path, file: str, size_bytes: int) -> bool:
    """Whether a regular file of a size is there."""
    try:
        with open_regular(folder, file) as stream:
            return stream.seek(0, 2) == size_bytes
    except (OSError, IrregularFile):
        return False


def is_whole(folder: Path, manifest: Manifest, *, contents: bool) -> bool:
    """Whether all files of a manifest exist with their size; pages may have any size.

    Args:
        contents: Also compare the hashes, except those of the graphs, which are large.
    """
    try:
        if not all(has_size(folder, *item) for item in manifest.sizes().items()):
            return False
        if not all(is_regular(folder, page.path) for page in manifest.pages):
            return False
        return not contents or all(problem_of(folder, file) is None for file in manifest.files)
    except (OSError, IrregularFile):
        return False


def _meant(path: Path) -> Path:
    """Returns the published folder that a path is in, or one below it, or a name as an example."""
    for parent in path.parents:
        if (parent / MANIFEST_FILE).is_file():
            return parent
    found = (p.parent for depth in ("*", "*/*") for p in path.glob(f"{depth}/{MANIFEST_FILE}"))
    return min(found, default=Path("models/all-MiniLM-L6-v2"))


def published_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a published folder that a user named.

    Raises:
        UsageError: There is no such folder, it cannot be read, or embconvert did not publish it.
        SourceError: The manifest is broken, or an older version wrote it.
    """
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error
    if is_file:
        raise UsageError(
            f"{folder} is a file, not a folder published by embconvert",
            f"give the model's folder, for example {_meant(folder)}",
        )
    if not is_folder:
        raise UsageError(f"there is no folder {folder}", "give a folder published by embconvert")
    try:
        manifest = _read(folder)
    except OlderManifest as error:
        raise SourceError(str(error), "convert the model again") from error
    except UnreadableManifestError as error:
        raise UsageError(str(error), "check its permissions") from error
    except ValueError as error:
        raise SourceError(
            str(error),
            "convert the model again; a folder with a broken manifest is treated as empty",
        ) from error
    if manifest is None:
        raise UsageError(
            f"{folder} is not a folder published by embconvert: it has no {MANIFEST_FILE}",
            f"give the model's folder, for example {_meant(folder)}",
        )
    return manifest
