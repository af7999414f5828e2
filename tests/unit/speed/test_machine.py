"""What other work takes from a process is told."""

from pathlib import Path

import pytest

from embconvert.speed.machine import observed


def write(proc: Path, threads: dict[str, tuple[int, int]], busy: int = 0, steal: int = 0) -> None:
    """Writes the files of a process file system.

    Args:
        threads: Nanoseconds that each thread ran and waited.
        busy: Ticks of all CPUs.
        steal: Ticks that the machine's host took.
    """
    for name, (ran, waited) in threads.items():
        (proc / "self" / "task" / name).mkdir(parents=True, exist_ok=True)
        (proc / "self" / "task" / name / "schedstat").write_text(f"{ran} {waited} 7\n")
    (proc / "stat").write_text(f"cpu  {busy} 0 0 500 0 0 0 {steal} 0 0\ncpu0 1 2 3\n")


@pytest.mark.parametrize(
    ("waited", "steal", "share"),
    [(0, 0, 0.0), (2_000, 0, 0.2), (0, 50, 0.5), (2_000, 50, 0.5)],
)
def test_waiting_for_a_cpu_and_stolen_time_count(
    tmp_path: Path, waited: int, steal: int, share: float
) -> None:
    write(tmp_path, {"1": (1_000, 500), "2": (0, 0)}, busy=100, steal=10)
    with observed(tmp_path) as disturbance:
        after = {"1": (5_000, 500 + waited // 2), "2": (4_000, waited // 2)}
        write(tmp_path, after, busy=150, steal=10 + steal)
    assert disturbance.waited == pytest.approx(share)


def test_what_a_system_does_not_tell_is_unknown(tmp_path: Path) -> None:
    with observed(tmp_path) as disturbance:
        pass
    assert disturbance.waited is None


def test_a_thread_that_ends_before_the_second_look_is_no_negative_time(tmp_path: Path) -> None:
    write(tmp_path, {"1": (1_000, 0), "2": (9_000, 9_000)}, busy=100)
    with observed(tmp_path) as disturbance:
        (tmp_path / "self" / "task" / "2" / "schedstat").unlink()
        write(tmp_path, {"1": (2_000, 0)}, busy=200)
    assert disturbance.waited == 0.0


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux")
def test_this_system_tells_it() -> None:
    with observed() as disturbance:
        sum(range(1_000_000))
    assert disturbance.waited is not None
    assert 0 <= disturbance.waited <= 1
