"""Running a command in a group whose memory is limited, and what it took; Linux, as root.

The kernel's own figures of the group: https://docs.kernel.org/admin-guide/cgroup-v2.html
(memory.stat) and cgroup-v1/memory.
"""

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SAMPLE_EVERY_S = 0.05
#: The exit code of a command that took too long.
TIMED_OUT = 124


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        exit_code: Of the command; negative when a signal ended it.
        wall_s: Wall time.
        cpu_s: User and system time of the processes that were waited for.
        peak_bytes: Highest memory that the kernel cannot take back: anonymous memory of all its
            processes. Mapped files count as page cache, which it can.
        read_bytes: Read from the machine's disks during the run.
        written_bytes: That went there.
        said: The end of what it printed.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int
    said: str


def run_limited(
    command: Sequence[str], limit_bytes: int | None, log: Path, *, timeout_s: float | None = None
) -> Cost:
    """Runs a command in a new group.

    Args:
        command: The words.
        limit_bytes: Of its memory, page cache included; None for no limit.
        log: Gets what it prints.
        timeout_s: It is killed after this time; None waits for ever.

    Raises:
        OSError: The group cannot be made: this needs root and a writable /sys/fs/cgroup.
    """
    with _group(limit_bytes) as group, log.open("wb") as output:
        peaks = [0]
        done = threading.Event()

        def sample() -> None:
            while not done.wait(_SAMPLE_EVERY_S):
                peaks.append(_anonymous_bytes(group))

        sampler = threading.Thread(target=sample)
        before, start = _disk_bytes(), time.perf_counter()
        used = _children_cpu_s()
        sampler.start()
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = TIMED_OUT
        finally:
            _end_all(group)
            process.wait()
            done.set()
            sampler.join()
        wall = time.perf_counter() - start
        os.sync()  # what is written late is this command's, too
        after = _disk_bytes()
    return Cost(
        exit_code=code,
        wall_s=wall,
        cpu_s=_children_cpu_s() - used,
        peak_bytes=max(peaks),
        read_bytes=after[0] - before[0],
        written_bytes=after[1] - before[1],
        said=log.read_text(errors="replace")[-2000:],
    )


def _end_all(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            os.kill(int(pid), signal.SIGKILL)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _group(limit_bytes: int | None) -> Iterator[Path]:
    old = (_ROOT / "memory").is_dir()
    group = _ROOT / ("memory" if old else "") / f"embconvert-bench-{os.getpid()}"
    if not old:
        (_ROOT / "cgroup.subtree_control").write_text("+memory")
    group.mkdir()
    try:
        if limit_bytes is not None:
            name = "memory.limit_in_bytes" if old else "memory.max"
            (group / name).write_text(str(limit_bytes))
        yield group
    finally:
        for _ in range(50):  # its last process may still be on its way out
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


def _anonymous_bytes(group: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(fields.get("total_rss", fields.get("anon", 0)))
    return 0


def _disk_bytes() -> tuple[int, int]:
    """Returns kilobytes paged in and out since the machine started, as bytes; see proc(5)."""
    fields = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(fields["pgpgin"]) * 1024, int(fields["pgpgout"]) * 1024
