"""What only a container knows: where its volume comes from, and how to write to that."""

import os
import shlex
from pathlib import Path


def inside_container() -> bool:
    """Whether this is the image."""
    return "EMBCONVERT_IN_CONTAINER" in os.environ


MOUNT_HINT = "mount a folder there: docker run -v ./models:/models"


def permission_hint(path: Path, elsewhere: str, *, root: Path = Path("/")) -> str:
    """Returns what to do when this user may not write somewhere.

    Whose a folder is, is not for a hint to change: it may be a system's, or others' too.

    Args:
        path: The folder to write in, or the nearest one above it that exists.
        elsewhere: How to write somewhere else.
        root: Where /proc is.
    """
    if not inside_container():
        return f"{elsewhere}, where you may write"
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
    """Returns the host's folder that is mounted at a path or above it, below the root.

    It is relative to the host's file system, which is right unless that is mounted elsewhere; see
    proc_pid_mountinfo(5).
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
