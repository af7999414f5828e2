"""The output folder and the hidden folders next to it: names, renames and removal.

A staging folder replaces the output folder by one rename. What is removed is renamed first, so
that no run takes it for a complete folder.
"""

import contextlib
import errno
import glob
import secrets
from pathlib import Path

from embconvert.folder.disk import hidden_name
from embconvert.folder.parent import Parent

_RANDOM_BYTES = 4


def staged_folders(target: Path) -> list[Path]:
    """Returns the folders of runs at an output folder that were killed, or work there now."""
    return sorted(target.parent.glob(glob.escape(_prefix(target, "staging")) + "*"))


def new_sibling(target: Path, kind: str) -> Path:
    """Returns an unused path next to an output folder, for a folder of this kind."""
    return target.parent / f"{_prefix(target, kind)}{secrets.token_hex(_RANDOM_BYTES)}"


def _prefix(target: Path, kind: str) -> str:
    return hidden_name(target, f"embconvert-{kind}-", room=2 * _RANDOM_BYTES)


class Exchange:
    """An output folder and its siblings, in a parent folder that is open."""

    def __init__(self, target: Path, parent: Parent) -> None:
        self._target = target
        self.parent = parent

    def siblings(self, kind: str) -> list[Path]:
        """Returns the folders of a kind next to the output folder, without links."""
        prefix = _prefix(self._target, kind)
        # Versions before 0.1.0 had one folder of each kind, without a random part.
        older = prefix.removesuffix("-")
        names = self.parent.folders(older)
        return [
            self._target.parent / name for name in names if name == older or name.startswith(prefix)
        ]

    def publish(self, folder: Path) -> None:
        """Makes a sibling the output folder, and removes the old one."""
        if self._rename(folder):
            return
        if self.parent.swap(folder.name, self._target.name):
            self.discard(folder)
        else:
            self._replace(folder)

    def bring_back(self) -> None:
        """Moves back an output folder that a killed run had moved aside."""
        for aside in self.siblings("old"):
            try:
                self.parent.move(aside.name, self._target.name)
            except OSError:  # the output folder exists
                self.discard(aside)

    def discard(self, folder: Path) -> None:
        """Removes a sibling; renames it first, so that no run publishes it half removed."""
        trash = new_sibling(self._target, "trash")
        with contextlib.suppress(OSError):
            self.parent.move(folder.name, trash.name)
        for path in (trash, *self.siblings("trash")):  # also those of killed runs
            self.parent.remove(path.name)

    def _rename(self, folder: Path) -> bool:
        """Renames a sibling to the output folder, if there is none."""
        try:
            # If the target exists and is not empty, rename(2) gives one of two errors.
            self.parent.move(folder.name, self._target.name)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def _replace(self, folder: Path) -> None:
        """For file systems that cannot swap folders: moves the old folder aside first.

        For a moment there is no output folder. If the run is killed then, the next run moves the
        old one back.
        """
        while True:
            aside = new_sibling(self._target, "old")
            # Without locks, another run may do the same; the last one wins.
            with contextlib.suppress(FileNotFoundError):
                self.parent.move(self._target.name, aside.name)
            published = self._rename(folder)
            self.discard(aside)
            if published:
                return
