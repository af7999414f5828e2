"""A folder that cannot be written comes with a way out that changes nobody's folder."""

import os
from pathlib import Path

import pytest

from embconvert.processes.container import permission_hint

ELSEWHERE = "choose another --output"

MOUNTS = """\
22 1 0:21 / / rw - overlay overlay rw
35 22 254:0 /home/ann/models /models rw,relatime - ext4 /dev/vda rw
"""


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EMBCONVERT_IN_CONTAINER", "1")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    return tmp_path


@pytest.mark.parametrize("folder", ["/models", "/models/intfloat"])
def test_in_a_container_the_hosts_folder_is_named(folder: str, container: Path) -> None:
    hint = permission_hint(Path(folder), ELSEWHERE, root=container)
    assert hint.endswith("docker run --user $(stat -c %u:%g /home/ann/models)")


def test_in_a_container_without_a_volume_one_is_asked_for(container: Path) -> None:
    assert "docker run -v" in permission_hint(Path("/nowhere"), ELSEWHERE, root=container)


def test_on_kubernetes_the_pods_group_is_the_way(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert "fsGroup" in permission_hint(Path("/models"), ELSEWHERE, root=container)


def test_elsewhere_another_folder_is_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EMBCONVERT_IN_CONTAINER", raising=False)
    assert (
        permission_hint(tmp_path, ELSEWHERE)
        == "choose another --output for which you have write permission"
    )
