"""Process limits of a shell or a service manager: ulimit(1), getrlimit(2).

Some are checked before a run; others are recognized from the system's error.
"""

import errno
import math
import resource
from pathlib import Path

from embconvert.errors import OutputError, UsageError

# Pipes of a dozen processes, the source's files and the libraries' files: converting a model with
# many weight files had 70 open.
_OPEN_FILES = 256
# For cleaning up after the CPU time is used up.
_RESERVE_S = 2
# Threads count as processes: each library starts one per CPU.
_PROCESSES = 1024
# How far an error's causes are followed.
_CAUSES = 10


def adjust_limits() -> None:
    """Raises the limit of open files as far as needed, and reserves CPU time for cleaning up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        if 0 <= hard < _OPEN_FILES:
            raise OutputError(
                f"`ulimit -n` allows {hard} open files, but embconvert needs {_OPEN_FILES}",
                f"raise the limit: ulimit -n {_OPEN_FILES}",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # At the soft limit SIGXCPU arrives; at the hard one the system kills, as for lack of memory.
    reserve = min(_RESERVE_S, hard // 2)
    if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard - reserve:
        resource.setrlimit(resource.RLIMIT_CPU, (hard - reserve, hard))


def refuse_missing_working_directory() -> None:
    """Raises UsageError early; otherwise each library would fail in its own way."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be used: {error.strerror}",
            "change to an existing folder, for example with `cd ~`, and run the command again",
        ) from error


def refuse_missing_proc() -> None:
    """Raises OutputError without /proc, as in a sandbox: ONNX Runtime would fail during the run."""
    if not Path("/proc/self/fd").is_dir():
        raise OutputError(
            "/proc is not mounted, but ONNX Runtime needs it to read a graph's weights",
            "run: mount -t proc proc /proc; or start the sandbox with it",
        )


def cpu_limit_s() -> int | None:
    """Returns the CPU time limit of each process, None when there is none."""
    limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def file_size_limit_bytes() -> float:
    """Returns the maximum size of a file; infinite without a limit."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def few_processes() -> str | None:
    """Returns a description of a process limit that libraries may reach, None if it is high enough.

    Libraries that cannot start a thread end their process without saying why.
    """
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if 0 <= limit < _PROCESSES:
        return f"`ulimit -u` allows this user only {limit} processes and threads"
    return None


def limit_error(error: BaseException) -> OutputError | None:
    """Returns the error for the limit that caused another error, None when no limit did."""
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
