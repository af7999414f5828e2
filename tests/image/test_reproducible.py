"""Two builds from one commit give the same files."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, docker

pytestmark = pytest.mark.usefixtures("image")

ROOT = Path(__file__).parents[2]
AGAIN = f"{IMAGE}-again"

LIST = r"""
import hashlib
from pathlib import Path
for root in ("/app", "/opt"):
    for path in sorted(Path(root).rglob("*")):
        what = oct(path.lstat().st_mode)
        if path.is_symlink():
            what += f" -> {path.readlink()}"
        elif path.is_file():
            what += " " + hashlib.sha256(path.read_bytes()).hexdigest()
        print(path, what)
"""


def files(image: str) -> set[str]:
    done = docker(
        "run", "--rm", "-i", "--network", "none", "--entrypoint", "python", image, "-", stdin=LIST
    )
    assert done.code == 0, done.stderr
    return set(done.stdout.splitlines())


def test_a_build_without_a_cache_gives_the_same_files() -> None:
    words = shlex.split(os.environ.get("DOCKER_BUILD") or "docker build")
    subprocess.run([*words, str(ROOT), "--no-cache", "--tag", AGAIN], check=True)
    try:
        first, second = files(IMAGE), files(AGAIN)
        assert len(first) > 10_000
        assert first == second, sorted(first ^ second)[:20]
    finally:
        docker("rmi", "--force", AGAIN)
