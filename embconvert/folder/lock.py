"""The lock that serializes runs on an output folder."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from embconvert.errors import OutputError
from embconvert.folder.disk import hidden_name

#: Errors of flock(2) if there are no locks, as on NFS without a lock server.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


class FolderLock:
    """A lock next to a folder; the kernel releases it when the process ends."""

    def __init__(self, target: Path, say: Callable[[str], None]) -> None:
        self._target = target
        self._file = target.parent / hidden_name(target, "embconvert-lock")
        self._say = say
        self._lock: int | None = None

    @property
    def is_held(self) -> bool:
        return self._lock is not None

    def acquire(self) -> None:
        """Waits for the lock and takes it; reports waiting and file systems without locks.

        The owner removes the file, so the next one checks that it locked the current file of that
        name. NFS requires that the file is open for writing; see flock(2).

        Raises:
            OutputError: The lock's path is not a file.
        """
        while True:
            # Follow no links: their targets would be created and locked.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                lock = os.open(self._file, flags, 0o666)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                    raise
                raise OutputError(
                    f"{self._file}, the lock of {self._target}, is not a file",
                    "remove it and run the command again",
                ) from error
            try:
                self._wait_for(lock)
                if self._file.stat().st_ino == os.fstat(lock).st_ino:
                    self._lock = lock
                    return
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                self._say(f"the file system of {self._target.parent} has no locks")
                self._lock = lock
                return
            finally:
                if self._lock is None:
                    os.close(lock)

    def _wait_for(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._say(f"waiting for another run that works on {self._target}")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def release(self) -> None:
        assert self._lock is not None
        self._file.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
