"""What `embconvert version` tells."""

import json
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest

import embconvert
from embconvert.cli.version import version as tell
from embconvert.request.records import VersionRequest
from support.command_line import ROOT

SHA = "[0-9a-f]{40}"


@pytest.fixture(autouse=True)
def outside_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBCONVERT_REVISION", raising=False)

    def missing(name: str) -> NoReturn:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)


def test_an_images_commit_is_what_it_was_built_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONVERT_REVISION", "1" * 40)
    assert tell(VersionRequest()).text == f"embconvert {embconvert.__version__} (commit {'1' * 40})"
    assert json.loads(tell(VersionRequest(json=True)).text)["revision"] == "1" * 40


def test_a_checkouts_commit_is_told_with_what_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    package = tmp_path / "embconvert" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(embconvert, "__file__", str(package))
    assert tell(VersionRequest()).text.endswith("(commit unknown)")
    git("init")
    git("add", "-A")
    git("commit", "-m", "a")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert tell(VersionRequest()).text.endswith(f"(commit {commit})")
    package.write_text("# changed")
    assert tell(VersionRequest()).text.endswith(f"(commit {commit}-dirty)")


def test_this_checkouts_commit_is_known() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    assert re.search(rf"\(commit {SHA}(-dirty)?\)$", tell(VersionRequest()).text)
