"""Writes the pages of a published folder: report and model card."""

import hashlib
from dataclasses import replace
from pathlib import Path

from embconvert.evaluation.records import EVALUATION_PAGE
from embconvert.manifest import CARD_FILE, PAGES, REPORT_FILE, TRY_FILE, Manifest
from embconvert.models.source_records import FileRecord
from embconvert.regular_files import IrregularFile, hash_of, open_regular, replace_file
from embconvert.reporting.home import Home


def make_pages(
    manifest: Manifest,
    folder: Path,
    *,
    home: Home,
    keep: frozenset[str] = frozenset(),
    with_try: bool = False,
) -> tuple[Manifest, dict[str, bytes]]:
    """Makes the pages of a folder, except those to keep; writes nothing.

    With `with_try`, also the page to try the model, if a browser can load it. Returns the manifest
    with the pages that were made, and their contents by their paths.
    """
    from embconvert.reporting.card import model_card
    from embconvert.reporting.page import report_page
    from embconvert.reporting.try_page import can_try, try_page

    makers = {REPORT_FILE: report_page, CARD_FILE: model_card}
    if with_try and can_try(manifest, folder):
        makers[TRY_FILE] = try_page
    made = {
        file: make(manifest, folder, home=home).encode("utf-8", "replace")
        for file, make in makers.items()
        if file not in keep
    }
    records = [
        FileRecord(path=file, sha256=hashlib.sha256(page).hexdigest(), size_bytes=len(page))
        for file, page in made.items()
    ]
    return replace(manifest, pages=tuple(records)), made


def write_pages(
    manifest: Manifest,
    folder: Path,
    *,
    target: Path,
    keep: frozenset[str] = frozenset(),
    with_try: bool = False,
) -> Manifest:
    """Writes the pages of a folder, except those to keep; see make_pages().

    Args:
        target: What the folder is or will be; its name and its evaluation are those of the pages.

    Returns:
        The manifest with the pages that were written.
    """
    home = Home(name=target.resolve().name, has_evaluation=(target / EVALUATION_PAGE).is_file())
    manifest, made = make_pages(manifest, folder, home=home, keep=keep, with_try=with_try)
    for file, page in made.items():
        # Replaced instead of overwritten: the file may be a hard link to that of another folder.
        replace_file(folder / file, page)
    return manifest


def has_try_page(manifest: Manifest | None) -> bool:
    """Whether the page to try the model was asked for when a folder was published."""
    return manifest is not None and any(page.path == TRY_FILE for page in manifest.pages)


def users_pages(folder: Path, manifest: Manifest | None) -> frozenset[str]:
    """Returns the pages of a folder, which may be missing, that the user wrote or changed."""
    ours = {page.path: page.sha256 for page in manifest.pages} if manifest else {}
    return frozenset(file for file in PAGES if _is_users(folder, file, ours.get(file)))


def _is_users(folder: Path, file: str, ours: str | None) -> bool:
    """Whether a page is not ours: another content, or a link, which is not read."""
    try:
        with open_regular(folder, file) as stream:
            return hash_of(stream)[0] != ours
    except IrregularFile:
        return (folder / file).is_symlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
