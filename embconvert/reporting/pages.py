"""Writing the pages of a published folder: its report and its model card."""

from dataclasses import replace
from pathlib import Path

from embconvert.graph.streams import hash_file
from embconvert.manifest import CARD_FILE, REPORT_FILE, Manifest
from embconvert.model import FileRecord


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
        path = folder / file
        # Replaced, not written over: the folder's files may be links to those of another.
        temporary = path.with_name(f".{file}.new")
        temporary.write_text(make(manifest, folder, name=name), encoding="utf-8")
        temporary.replace(path)
        written.append(
            FileRecord(path=file, sha256=hash_file(path), size_bytes=path.stat().st_size)
        )
    return replace(manifest, pages=tuple(written))


def users_pages(folder: Path, manifest: Manifest | None) -> frozenset[str]:
    """Returns the pages of a folder that are the user's own: not what embconvert wrote there.

    Args:
        folder: A published folder, or one that is not there.
        manifest: Of the folder; None when it has none.
    """
    ours = {page.path: page.sha256 for page in manifest.pages} if manifest else {}
    return frozenset(
        file
        for file in (REPORT_FILE, CARD_FILE)
        if (folder / file).is_file() and hash_file(folder / file) != ours.get(file)
    )
