"""What only a container knows: where its volume comes from, and how to make that writable."""

import os
from pathlib import Path


def inside_container() -> bool:
    """Whether this is the image."""
    return "EMBCONVERT_IN_CONTAINER" in os.environ


def mend_permission(path: Path, *, root: Path = Path("/")) -> str:
    """Returns the command that lets this user write a path, for a hint.

    Args:
        path: The folder to write in; it may not exist.
        root: Where /proc is.
    """
    user = os.getuid()
    if not inside_container():
        own = "chown -R" if os.access(path, os.F_OK) else "install -d -o"
        return f"run: sudo {own} {user} {path}; or choose another --output_parent_dir"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "set securityContext.fsGroup of the pod to the group of its user"
    volume = _host_folder(path.absolute(), root)
    if volume is None:
        return "mount a folder there: docker run -v ./models:/models"
    return (
        f"on the host, run: sudo chown -R {user} {volume}; or let the container run as you: "
        "docker run --user $(id -u):$(id -g)"
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
