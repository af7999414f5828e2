"""Writes the page that `--output` names."""

import contextlib
import stat
from pathlib import Path

from embconvert.errors import OutputError
from embconvert.folder.disk import output_errors
from embconvert.regular_files import kind_of, replace_file

#: The hint of its errors.
ELSEWHERE = "choose another --output"


def write_page(path: Path, page: str) -> None:
    """Writes a page as HTML, and its folder; raises OutputError if that is impossible."""
    with output_errors(path, ELSEWHERE):
        refuse_other_than_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode("utf-8", "replace"))


def refuse_other_than_file(path: Path) -> None:
    """Raises OutputError for a folder, a link or the like, and below a link to another folder.

    Links in the root folder belong to the system, such as macOS' /tmp.
    """
    if path.is_dir() and not path.is_symlink():
        raise OutputError(f"{path} is a folder", f"write: --output {path / 'page.html'}")
    for above in path.parents:
        if above.is_symlink() and above.absolute().parent != Path("/"):
            raise OutputError(
                f"{above} is a link, so --output {path} would be written elsewhere",
                f"write: --output {path.parent.resolve() / path.name}",
            )
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise OutputError(
                f"--output {path} is {kind_of(mode)}, which is not replaced",
                f"remove it, or {ELSEWHERE}",
            )
