"""The lock that lets one run at a time work on an output folder."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from embconvert.errors import OutputError
from embconvert.folder.disk import hidden_name

#: What flock(2) says where there are no locks; NFS without a lock server among them.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


class FolderLock:
    """A lock beside a folder; it ends with the process, however that ends.

    Args:
        target: The folder.
        say: Tells the user of a wait, and of a file system without locks.
    """

    def __init__(self, target: Path, say: Callable[[str], None]) -> None:
        self._target = target
        self._file = target.parent / hidden_name(target, "embconvert-lock")
        self._say = say
        self._lock: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether it was acquired."""
        return self._lock is not None

    def acquire(self) -> None:
        """Waits for the lock and takes it.

        The lock's owner removes its file, so the next one checks that what it locked is still the
        file of that name. NFS gives such a lock only on a file that is open for writing; flock(2).

        Raises:
            OutputError: Something else has the file's name.
        """
        while True:
            # Nobody's link is followed: what it points to would be made, and locked.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                lock = os.open(self._file, flags, 0o666)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                    raise
                raise OutputError(
                    f"{self._file} is no file, and the lock of {self._target} must be one",
                    "remove it, and run it again",
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
            self._say(f"another run works on {self._target}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def release(self) -> None:
        """Gives it to the next one."""
        assert self._lock is not None
        self._file.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
