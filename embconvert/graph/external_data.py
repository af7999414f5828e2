"""Finds the file of a graph's external data; refuses paths outside of the graph's folder."""

import os
from pathlib import Path


def file_beside(graph: Path, location: Path) -> Path:
    """Returns the file of a graph's external data.

    A link is followed only where a hub's cache has one, from a snapshot to a blob of the same
    repository, as the graph is. ONNX Runtime asks for that, too: both must be in one folder.

    Raises:
        ValueError: It is not beside the graph, or a link to elsewhere.
    """
    file = graph.parent / location
    if location.name != str(location) or not os.path.lexists(file):
        raise ValueError(f"{graph.name} needs {location}, which is not a file in the same folder")
    if file.is_symlink():
        blobs = _blobs(graph)
        if blobs is None or not file.resolve().parent == graph.resolve().parent == blobs:
            raise ValueError(
                f"{location} is a link, which is followed only inside of a model's folder in a hub "
                f"cache; copy the file itself to the folder of {graph.name}"
            )
        file = file.resolve()
    if not file.is_file():
        raise ValueError(f"{graph.name} needs {location}, which is not a file in the same folder")
    return file


def _blobs(graph: Path) -> Path | None:
    """Returns where the files of a graph's repository are, for a graph in a hub cache."""
    snapshots = next((p for p in graph.absolute().parents if p.name == "snapshots"), None)
    if snapshots is None or not snapshots.parent.name.startswith("models--"):
        return None
    return snapshots.parent.resolve() / "blobs"
