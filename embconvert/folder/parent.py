"""The parent of the output folder, accessed through an open descriptor.

A folder that is replaced by a link during a run can therefore not redirect renames and removals.
"""

import ctypes
import os
import shutil
from pathlib import Path

_RENAME_EXCHANGE = 2


class Parent:
    """An open folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # O_PATH also works for folders that can be written but not listed.
        self.descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to the same folder."""
        return identity(self._path.stat()) == identity(os.fstat(self.descriptor))

    def make(self, name: str) -> tuple[int, int]:
        """Creates a subfolder; returns its identity."""
        os.mkdir(name, dir_fd=self.descriptor)
        return identity(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False))

    def move(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def swap(self, a: str, b: str) -> bool:
        """Swaps the names of two folders in it, in one step; returns False where it can't.

        Python has no call for renameat2(2).
        """
        try:
            rename = ctypes.CDLL(None, use_errno=True).renameat2
        except (OSError, AttributeError):
            return False
        here = self.descriptor
        arguments = (here, os.fsencode(a), here, os.fsencode(b), _RENAME_EXCHANGE)
        return bool(rename(*arguments) == 0)

    def remove(self, name: str) -> None:
        """Removes a subfolder recursively, as far as possible."""
        shutil.rmtree(name, ignore_errors=True, dir_fd=self.descriptor)

    def folders(self, prefix: str) -> list[str]:
        """Returns the subfolders with this prefix, no links; none if it cannot be read."""
        try:
            listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.descriptor)
        except PermissionError:
            return []
        try:
            with os.scandir(listing) as found:
                return sorted(
                    entry.name
                    for entry in found
                    if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False)
                )
        finally:
            os.close(listing)

    def close(self) -> None:
        os.close(self.descriptor)


def identity(status: os.stat_result) -> tuple[int, int]:
    """Returns a unique identity of a file or folder."""
    return status.st_dev, status.st_ino
