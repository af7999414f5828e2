"""The folder above the output folder, opened once: what changes names in it goes by its descriptor.

So a folder that is swapped for a link in mid-run cannot lead what is renamed or removed elsewhere.
"""

import os
import shutil
from pathlib import Path


class Parent:
    """An open folder; its descriptor is of use until close().

    Attributes:
        descriptor: The folder's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # O_PATH: a folder that may be written and not listed will do.
        self.descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to it."""
        return identity(self._path.stat()) == identity(os.fstat(self.descriptor))

    def make(self, name: str) -> tuple[int, int]:
        """Makes a folder in it; returns what tells it from another of the same name."""
        os.mkdir(name, dir_fd=self.descriptor)
        return identity(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False))

    def move(self, name: str, to: str) -> None:
        """Gives a folder in it another name."""
        os.rename(name, to, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Removes a folder in it with all that is below, as far as possible."""
        shutil.rmtree(name, ignore_errors=True, dir_fd=self.descriptor)

    def folders(self, prefix: str) -> list[str]:
        """Returns the names of folders in it, no links, that begin so; none if it can't be read."""
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
        """Lets go of it."""
        os.close(self.descriptor)


def identity(status: os.stat_result) -> tuple[int, int]:
    """Returns what tells a file or folder from all others."""
    return status.st_dev, status.st_ino
