"""Reading a published folder."""

import shutil
from io import BufferedIOBase
from pathlib import Path

from embconvert.errors import SourceError, UsageError
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest.codec import (
    MAX_BYTES,
    BrokenManifest,
    OlderManifest,
    parse_manifest,
)
from embconvert.models.values import FileRecord
from embconvert.regular_files import IrregularFile, hash_of, is_regular, open_regular

_AGAIN = "convert the model again; what is whole is kept"


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder, or None when it has none.

    Raises:
        OlderManifest: An older version wrote it.
        ValueError: It is broken, or no regular file.
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
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except BrokenManifest as error:
        raise type(error)(f"{folder / MANIFEST_FILE}: {error}") from error


def parse_manifest_stream(stream: BufferedIOBase) -> Manifest:
    """Reads a manifest from an open file.

    Raises:
        BrokenManifest: It is broken, or an older version wrote it.
    """
    return parse_manifest(stream.read(MAX_BYTES + 1))


def problem_of(folder: Path, record: FileRecord) -> str | None:
    """Returns, in words, why a file is not what a manifest lists; None when it is.

    Raises:
        IrregularFile: There is something else in its place.
    """
    try:
        with open_regular(folder, record.path) as stream:
            return difference(stream, record)
    except FileNotFoundError:
        return f"{record.path} is missing"
    except OSError as error:
        return f"{record.path} cannot be read: {error.strerror}"


def difference(stream: BufferedIOBase, record: FileRecord) -> str | None:
    """Returns, in words, why an open file is not what a manifest lists; None when it is."""
    if hash_of(stream) != (record.sha256, record.size_bytes):
        return f"{record.path} is not the file that the manifest lists"
    return None


def copy_listed(folder: Path, record: FileRecord, target: Path) -> None:
    """Copies a file that a manifest lists, comparing what was copied with it.

    Args:
        folder: Has the file.
        record: The manifest's.
        target: Another folder; the file gets the same path there.

    Raises:
        SourceError: The file is missing, is not what is listed, or is no regular file.
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


def is_whole(folder: Path, manifest: Manifest, *, contents: bool) -> bool:
    """Whether the files that a manifest lists are there, each of its size; pages of any.

    Args:
        folder: Of the manifest.
        manifest: What to compare with.
        contents: Compare the hashes too, but for the graphs, which are large.
    """
    try:
        for file, size_bytes in manifest.sizes().items():
            with open_regular(folder, file) as stream:
                if stream.seek(0, 2) != size_bytes:
                    return False
        if not all(is_regular(folder, page.path) for page in manifest.pages):
            return False
        return not contents or all(problem_of(folder, file) is None for file in manifest.files)
    except (OSError, IrregularFile):
        return False


def published_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a folder that a user names as a published one.

    Raises:
        UsageError: There is no such folder, or no conversion published it.
        SourceError: Its manifest is broken, or an older version wrote it.
    """
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error
    if not is_folder:
        raise UsageError(f"there is no folder {folder}", "give a folder that embconvert published")
    try:
        manifest = _read(folder)
    except OlderManifest as error:
        raise SourceError(str(error), "convert the model again, which makes it anew") from error
    except ValueError as error:
        raise SourceError(
            str(error), "convert the model again: a folder with a broken manifest counts as empty"
        ) from error
    if manifest is None:
        raise UsageError(
            f"{folder} is not a folder that embconvert published: it has no {MANIFEST_FILE}",
            "give the folder itself, as models/all-MiniLM-L6-v2",
        )
    return manifest
