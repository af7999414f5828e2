"""Reading a published folder."""

import json
from pathlib import Path

from embconvert.errors import SourceError, UsageError
from embconvert.graph.streams import hash_file
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest_parsing import parse_manifest
from embconvert.user_files import UnreadableFileError, read_regular

_MAX_MANIFEST_BYTES = 1 << 26


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder, or None when it has none.

    Raises:
        ValueError: It is broken.
    """
    path = folder / MANIFEST_FILE
    try:
        if not path.is_file():
            return None
        text = read_regular(path, _MAX_MANIFEST_BYTES).decode("utf-8")
    except UnreadableFileError as error:
        raise ValueError(f"{path} {error}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason}") from error
    try:
        return parse_manifest(json.loads(text))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def is_whole(folder: Path, manifest: Manifest, *, contents: bool) -> bool:
    """Whether the files that a manifest lists are there, each of its size; pages of any.

    Args:
        folder: Of the manifest.
        manifest: What to compare with.
        contents: Compare the hashes too, but for the graphs, which are large.
    """
    try:
        for file, size_bytes in manifest.sizes().items():
            if (folder / file).stat().st_size != size_bytes:
                return False
        if not all((folder / page.path).is_file() for page in manifest.pages):
            return False
        return not contents or all(hash_file(folder / f.path) == f.sha256 for f in manifest.files)
    except OSError:
        return False


def published_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a folder that a user names as a published one.

    Raises:
        UsageError: There is no such folder, or no conversion published it.
        SourceError: Its manifest is broken.
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
        manifest = read_manifest(folder)
    except ValueError as error:
        raise SourceError(str(error), "convert the model again") from error
    if manifest is None:
        raise UsageError(
            f"{folder} is not a folder that embconvert published: it has no {MANIFEST_FILE}",
            "give the folder itself, as models/all-MiniLM-L6-v2",
        )
    return manifest
