"""The CPUs and memory that this process may use: a container's limits, not the machine's size.

Source of the files: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max) and
cgroup-v1/{memory,sched-bwc} (memory.limit_in_bytes, cpu.cfs_quota_us).
"""

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from embconvert.processes.bounds import lowered

# Version 1 writes "no limit" as the largest number of whole pages.
_UNLIMITED_BYTES = 1 << 60


def cpus(root: Path = Path("/")) -> int:
    """Returns how many CPUs this process may use at once (affinity and quota), at least 1."""
    available = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _cpu_quota(folder))]
    return max(1, min([available, *map(math.ceil, quotas)]))


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Returns the memory limit of this process's group, None without one."""
    limits = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) < _UNLIMITED_BYTES:
                limits.append(int(text))
    return min(limits, default=None)


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Returns how much memory this process's group can still use.

    That is the group's limit, or the system's available memory; page cache counts as available.
    EMBCONVERT_MEMORY_BYTES lowers it.
    """
    fields = _read(root / "proc/meminfo").partition("MemAvailable:")[2].split()
    # Not Linux: unknown, so treated as unlimited.
    system = int(fields[0]) * 1024 if fields else _UNLIMITED_BYTES
    return lowered("MEMORY_BYTES", min(system, memory_limit_bytes(root) or system))


def address_space_limit_bytes() -> int | None:
    """Returns the limit of `ulimit -v` in bytes, None without one."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def limit_threads() -> None:
    """Makes libraries that this process and its children import later start cpus() threads.

    By default they start one per processor of the machine, and threads above a container's quota
    only wait for each other. Variables that the user has set stay, except that of OpenBLAS (numpy's
    matrix products and inverses), which is 1: the last bits of its results, and so Q4's files,
    depend on the number of threads. Q4 takes no longer with one.

    Waiting threads of torch sleep: by default they spin, and take the CPU from other processes, of
    this run and others. On a busy machine that made the reference take five times as long.
    """
    count = session_threads()
    if count:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(count))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def session_threads() -> int:
    """Returns ONNX Runtime's intra_op_num_threads; 0 is its default."""
    count = cpus()
    return count if count < len(os.sched_getaffinity(0)) else 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders whose limits apply to this process, of both versions of cgroups.

    A container may see its group as the root, or the host's path for folders that do not exist.
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
