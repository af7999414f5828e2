"""What this process may use: a container's limits rather than the machine's size.

Source of the files: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max) and
cgroup-v1/{memory,sched-bwc} (memory.limit_in_bytes, cpu.cfs_quota_us).
"""

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path

# Version 1 says "no limit" with the largest number of whole pages.
_UNLIMITED_BYTES = 1 << 60


def cpus(root: Path = Path("/")) -> int:
    """Returns how many CPUs this process may use at once: affinity and quota, at least 1.

    Args:
        root: Where /proc and /sys are.
    """
    available = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _cpu_quota(folder))]
    return max(1, min([available, *map(math.ceil, quotas)]))


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Returns the memory that this process's group may use, or None when nothing limits it.

    Args:
        root: Where /proc and /sys are.
    """
    limits = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) < _UNLIMITED_BYTES:
                limits.append(int(text))
    return min(limits, default=None)


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Returns how much memory this process's group may take: its limit, or what the system has.

    Page cache, which the kernel gives up when asked, counts as free.

    Args:
        root: Where /proc and /sys are.
    """
    fields = _read(root / "proc/meminfo").partition("MemAvailable:")[2].split()
    # Not Linux: no figure, so nothing is said to be short.
    system = int(fields[0]) * 1024 if fields else _UNLIMITED_BYTES
    return min(system, memory_limit_bytes(root) or system)


def address_space_limit_bytes() -> int | None:
    """Returns what `ulimit -v` allows a process, or None when it has no limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def limit_threads() -> None:
    """Makes libraries that this process and its children import later start cpus() threads.

    They count the machine's processors by themselves, and threads above a container's quota
    only wait for each other. What the user has set stays, but for numpy's matrix products and
    inverses (OpenBLAS): their last bits change with the number of threads, and Q4's files with
    them. One makes Q4 take no more time.
    """
    count = session_threads()
    if count:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(count))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def session_threads() -> int:
    """Returns what ONNX Runtime's intra_op_num_threads should be; 0 is its own default."""
    count = cpus()
    return count if count < len(os.sched_getaffinity(0)) else 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders whose limits hold for this process, of both versions of cgroups.

    A container may see its own group as the root, or the host's path without the folders.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = Path(path.lstrip("/"))
        for parent in (group, *group.parents):
            yield mount / parent


def _cpu_quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us")
        period = _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
