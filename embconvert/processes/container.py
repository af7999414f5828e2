"""Hints for users of the container image: mounting a volume, and permission to write to it."""

import os
import shlex
from pathlib import Path


def inside_container() -> bool:
    """Whether this process runs in embconvert's image."""
    return "EMBCONVERT_IN_CONTAINER" in os.environ


MOUNT_HINT = "mount a folder there: docker run -v ./models:/models"


def permission_hint(path: Path, elsewhere: str, *, root: Path = Path("/")) -> str:
    """Returns a hint for a user who may not write to a folder.

    It never suggests changing the owner of the folder, which may belong to the system or to others.

    Args:
        path: The folder to write to, or its nearest parent that exists.
        elsewhere: How to write to another folder.
        root: Contains /proc.
    """
    if not inside_container():
        return f"{elsewhere} for which you have write permission"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "set securityContext.fsGroup of the pod to the group of its user"
    volume = _host_folder(path.absolute(), root)
    if volume is None:
        return MOUNT_HINT
    return (
        "let the container run as the owner of the host's folder: "
        f"docker run --user $(stat -c %u:%g {shlex.quote(volume)})"
    )


def _host_folder(path: Path, root: Path) -> str | None:
    """Returns the host's folder that is mounted at a path or one of its parents, except the root.

    The result is relative to the host's file system, which is correct unless that is mounted below
    another folder; see proc_pid_mountinfo(5).
    """
    try:
        lines = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    mounts = {fields[4]: fields[3] for line in lines if len(fields := line.split()) > 4}
    for folder in (path, *path.parents):
        source = mounts.get(str(folder))
        if source is not None and str(folder) != "/":
            return source
    return None
