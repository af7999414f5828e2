"""A container's limits are found, whichever version of cgroups it sees."""

import os
from pathlib import Path

import pytest

from embconvert.processes.resources import (
    available_memory_bytes,
    cpus,
    limit_threads,
    memory_limit_bytes,
)

GIB = 1 << 30


def tree(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "expected"), [("200000 100000", 2), ("150000 100000", 2), ("max 100000", 8)]
)
def test_version_2(quota: str, expected: int, tmp_path: Path) -> None:
    limit = {"sys/fs/cgroup/cpu.max": quota, "sys/fs/cgroup/memory.max": str(2 * GIB)}
    root = tree(tmp_path, "0::/", limit)
    assert cpus(root) == expected
    assert memory_limit_bytes(root) == 2 * GIB


def test_version_1_with_the_hosts_path_and_the_containers_folders(tmp_path: Path) -> None:
    """Docker without a cgroup namespace: the path names what cannot be seen."""
    cgroup = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/"
    limits = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
    }
    root = tree(tmp_path, cgroup, limits)
    assert cpus(root) == 1
    assert memory_limit_bytes(root) == GIB


def test_the_tightest_limit_of_a_groups_parents_holds(tmp_path: Path) -> None:
    limits = {
        "sys/fs/cgroup/pods/memory.max": str(GIB),
        "sys/fs/cgroup/pods/one/memory.max": str(4 * GIB),
    }
    assert memory_limit_bytes(tree(tmp_path, "0::/pods/one", limits)) == GIB


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_no_limit_is_no_limit(limit: str, tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": limit,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
    }
    root = tree(tmp_path, "3:memory:/\n0::/", files)
    assert memory_limit_bytes(root) is None
    assert cpus(root) == 8


def test_a_system_without_groups_has_no_limits(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) is None
    assert cpus(tmp_path) == 8


def test_available_memory_is_the_limit_or_what_the_system_has(tmp_path: Path) -> None:
    meminfo = "MemTotal: 16777216 kB\nMemAvailable:    2097152 kB"
    root = tree(tmp_path, "0::/", {"proc/meminfo": meminfo})
    assert available_memory_bytes(root) == 2 * GIB
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text(str(GIB))
    assert available_memory_bytes(root) == GIB


def test_the_environment_lowers_what_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, "", {"proc/meminfo": "MemAvailable: 4194304 kB"})
    monkeypatch.setenv("EMBCONVERT_MEMORY_BYTES", str(GIB))
    assert available_memory_bytes(root) == GIB
    monkeypatch.setenv("EMBCONVERT_MEMORY_BYTES", str(8 * GIB))
    assert available_memory_bytes(root) == 4 * GIB


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        del os.environ["OMP_WAIT_POLICY"]
    limit_threads()
    assert os.environ["OMP_WAIT_POLICY"] == expected
