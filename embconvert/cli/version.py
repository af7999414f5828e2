"""`embconvert version`: the version, the commit and the installed packages."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import embconvert
from embconvert import __version__
from embconvert.request.records import Finished, VersionRequest


def version(request: VersionRequest) -> Finished:
    commit = _commit()
    if not request.json:
        return Finished(text=f"embconvert {__version__} (commit {commit or 'unknown'})")
    versions: dict[str, Any] = {
        "embconvert": __version__,
        "revision": commit,
        "python": platform.python_version(),
        "packages": {
            str(distribution.metadata["Name"]): distribution.version
            for distribution in sorted(
                metadata.distributions(), key=lambda d: str(d.metadata["Name"]).lower()
            )
        },
    }
    return Finished(text=json.dumps(versions, indent=2))


def _commit() -> str | None:
    """Returns the commit of the image, of the installed package or of the checkout."""
    # The image's build sets the variable.
    return os.environ.get("EMBCONVERT_REVISION") or _commit_of_package() or _commit_of_checkout()


def _commit_of_package() -> str | None:
    """Returns the commit that pip installed from; PEP 610 defines the file."""
    try:
        noted = metadata.distribution("embconvert").read_text("direct_url.json")
        commit = json.loads(noted or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return commit if isinstance(commit, str) else None


def _commit_of_checkout() -> str | None:
    """Returns the commit of the working copy, with `-dirty` if files were changed."""
    root = Path(embconvert.__file__).parents[1]
    if not (root / ".git").exists():  # git would find another project's repository
        return None
    try:
        done = subprocess.run(
            ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
