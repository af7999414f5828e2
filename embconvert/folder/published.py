"""Reading a published folder."""

import json
from pathlib import Path

from embconvert.errors import SourceError, UsageError
from embconvert.graph.streams import hash_file
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest_parsing import parse_manifest

_MAX_MANIFEST_BYTES = 1 << 26


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
    except (RecursionError, OSError, ValueError) as error:
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
    if not folder.is_dir():
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
