"""A folder that cannot be written comes with the command that mends it."""

import os
from pathlib import Path

import pytest

from embconvert.processes.container import mend_permission

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
    hint = mend_permission(Path(folder), root=container)
    assert hint.startswith("on the host, run: sudo chown -R 1000 /home/ann/models; or ")
    assert "--user $(id -u):$(id -g)" in hint


def test_in_a_container_without_a_volume_one_is_asked_for(container: Path) -> None:
    assert "docker run -v" in mend_permission(Path("/elsewhere"), root=container)


def test_on_kubernetes_the_pods_group_is_the_way(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert "fsGroup" in mend_permission(Path("/models"), root=container)


def test_elsewhere_the_folder_is_given_or_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EMBCONVERT_IN_CONTAINER", raising=False)
    user = os.getuid()
    assert f"sudo chown -R {user} {tmp_path};" in mend_permission(tmp_path)
    assert f"sudo install -d -o {user} {tmp_path}/no;" in mend_permission(tmp_path / "no")
