"""Limits that a shell or a service manager sets for a process: ulimit(1), getrlimit(2).

Here is what can be known beforehand, and what an error of the system tells of them afterwards.
"""

import errno
import math
import resource
from pathlib import Path

from embconvert.errors import OutputError

# Pipes of a dozen processes, the source's files and the libraries' own: a conversion of a model in
# many pieces had 70 open.
_OPEN_FILES = 256
# To clean up in, once the time is over.
_RESERVE_S = 2
# Threads count as processes: each library starts one for each CPU.
_PROCESSES = 1024
# How far an error's causes are followed.
_CAUSES = 10


def adjust_limits() -> None:
    """Takes the open files that may be taken, and time to clean up from the time that there is.

    Raises:
        OutputError: Too few files may be open at a time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        if 0 <= hard < _OPEN_FILES:
            raise OutputError(
                f"only {hard} files may be open at a time (`ulimit -n`), and this needs "
                f"{_OPEN_FILES}",
                f"raise the limit: ulimit -n {_OPEN_FILES}",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # At the soft limit SIGXCPU arrives; at the hard one the system kills.
    if hard != resource.RLIM_INFINITY and soft > hard - _RESERVE_S and hard > 2 * _RESERVE_S:
        resource.setrlimit(resource.RLIMIT_CPU, (hard - _RESERVE_S, hard))


def refuse_missing_proc() -> None:
    """Refuses a sandbox without what graphs need; ONNX Runtime would say so in mid-work.

    Raises:
        OutputError: /proc is not mounted.
    """
    if not Path("/proc/self/fd").is_dir():
        raise OutputError(
            "/proc is not mounted, and ONNX Runtime opens a graph's weights through it",
            "run: mount -t proc proc /proc; or start the sandbox with it",
        )


def cpu_limit_s() -> int | None:
    """Returns the CPU time that each process may take, or None when there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def file_size_limit_bytes() -> float:
    """Returns how large a file may become; infinite when there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def few_processes() -> str | None:
    """Returns, in words, a limit of processes that libraries may well reach; None when it is high.

    Libraries that get no thread end their process, and don't say why.
    """
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if 0 <= limit < _PROCESSES:
        return f"`ulimit -u` allows this user only {limit} processes and threads"
    return None


def limit_error(error: BaseException) -> OutputError | None:
    """Returns the error for a limit that another error comes from; None where none is known."""
    found: BaseException | None = error
    for _ in range(_CAUSES):
        if found is None:
            return None
        known = _known(found)
        if known is not None:
            return known
        found = found.__cause__ or found.__context__
    return None


def _known(error: BaseException) -> OutputError | None:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return OutputError(
            f"no more files can be opened: `ulimit -n` allows {limit}",
            f"raise the limit: ulimit -n {8 * _OPEN_FILES}",
        )
    if number == errno.EAGAIN or "can't start new thread" in str(error):
        return OutputError(
            "the system allows this user no more processes: `ulimit -u`, or the container's limit",
            "end other programs, or raise the limit",
        )
    return None
