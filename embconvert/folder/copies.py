"""Copies of files in the staging folder."""

import os
import shutil
from io import BufferedReader
from pathlib import Path

from embconvert.folder.disk import is_folder


def copy_open_file(source: BufferedReader, target: Path) -> None:
    target.unlink(missing_ok=True)
    with target.open("xb") as stream:
        shutil.copyfileobj(source, stream)


def link_or_copy(source: Path, target: Path) -> None:
    """Makes target a hard link to source, or a copy if the file system has no links."""
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
