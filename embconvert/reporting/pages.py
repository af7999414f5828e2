"""Writing the pages of a published folder: its report and its model card."""

import hashlib
from dataclasses import replace
from pathlib import Path

from embconvert.manifest import CARD_FILE, REPORT_FILE, Manifest
from embconvert.models.values import FileRecord
from embconvert.regular_files import IrregularFile, hash_of, open_regular, replace_file


def write_pages(
    manifest: Manifest, folder: Path, *, name: str, keep: frozenset[str] = frozenset()
) -> Manifest:
    """Writes the pages of a folder.

    Args:
        manifest: Of the folder.
        folder: Where its files are now.
        name: What it is called where it is published.
        keep: Pages to leave alone.

    Returns:
        The manifest with the pages that were written.

    Raises:
        OSError: They cannot be written.
    """
    from embconvert.reporting.card import model_card
    from embconvert.reporting.page import report_page

    written = []
    for file, make in ((REPORT_FILE, report_page), (CARD_FILE, model_card)):
        if file in keep:
            continue
        # Replaced, not written over: the folder's files may be links to those of another.
        content = make(manifest, folder, name=name).encode("utf-8", "replace")
        replace_file(folder / file, content)
        digest = hashlib.sha256(content).hexdigest()
        written.append(FileRecord(path=file, sha256=digest, size_bytes=len(content)))
    return replace(manifest, pages=tuple(written))


def users_pages(folder: Path, manifest: Manifest | None) -> frozenset[str]:
    """Returns the pages of a folder that are the user's own: not what embconvert wrote there.

    Args:
        folder: A published folder, or one that is not there.
        manifest: Of the folder; None when it has none.
    """
    ours = {page.path: page.sha256 for page in manifest.pages} if manifest else {}
    return frozenset(
        file for file in (REPORT_FILE, CARD_FILE) if _is_users(folder, file, ours.get(file))
    )


def _is_users(folder: Path, file: str, ours: str | None) -> bool:
    """Whether somebody put a page there: another file, or a link, which is not read."""
    try:
        with open_regular(folder, file) as stream:
            return hash_of(stream)[0] != ours
    except IrregularFile:
        return (folder / file).is_symlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
