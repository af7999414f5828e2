"""Helpers and fixtures for tests that run containers of the image, which `make image` builds."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.hub_server import HubServer

IMAGE = os.environ.get("IMAGE", "embconvert")
# docker run's own exit code, when no container was started.
_ENGINE_FAILED = 125
#: What a careful administrator adds; everything must work with it.
HARDENED = (
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a container ended."""

    code: int
    stdout: str
    stderr: str


def docker(*words: object, stdin: str | None = None) -> Done:
    """Runs a docker command to its end.

    runc's setup of a container sometimes fails on a busy machine before anything of the image has
    run (opencontainers/runc, "waiting for init preliminary setup"); that is tried again.
    """
    for _attempt in range(3):
        done = subprocess.run(
            ["docker", *map(str, words)],
            input=stdin, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        if done.returncode != _ENGINE_FAILED or "init preliminary setup" not in done.stderr:
            break
    return Done(done.returncode, done.stdout, done.stderr)


def run(*options: object, words: tuple[object, ...], network: str = "none") -> Done:
    """Runs the image: `docker run OPTIONS IMAGE WORDS`."""
    return docker("run", "--rm", "--network", network, *options, IMAGE, *words)


def python(code: str, *options: object) -> str:
    """Runs Python code in the image; returns what it prints."""
    done = docker(
        "run", "--rm", "-i", "--network", "none", "--entrypoint", "python", *options, IMAGE, "-",
        stdin=code,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def image() -> None:
    """Fails at once, and clearly, without an engine or an image."""
    done = docker("image", "inspect", IMAGE)
    assert done.code == 0, f"build the image first, with `make image`: {done.stderr}"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty folder for /models that belongs to the image's default user."""
    folder = tmp_path / "models"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    return folder


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that any user may read."""
    from support import zoo

    folder = zoo.build_model("bert", tmp_path_factory.mktemp("source") / "tiny-bert")
    for path in [folder, *folder.parents[:3], *folder.rglob("*")]:
        if path.stat().st_uid == os.getuid():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="session")
def real_source(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real all-MiniLM-L6-v2, where any user may read it."""
    folder = tmp_path_factory.mktemp("real") / "all-MiniLM-L6-v2"
    shutil.copytree(minilm, folder)
    return readable(folder)


def readable(folder: Path) -> Path:
    """Lets any user read a folder of pytest's, as the user of the image must."""
    for path in [folder, *folder.parents[:3]]:
        path.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A hub on this machine, for containers on the host's network."""
    with HubServer() as server:
        yield server
