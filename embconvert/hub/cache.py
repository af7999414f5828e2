"""The hub's files in the cache: which are wanted, and whether they are what the hub has."""

import contextlib
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from embconvert.graph.streams import hash_file
from embconvert.hub.guard import Announced
from embconvert.manifest import CARD_FILE
from embconvert.request.records import Request
from embconvert.source.folder import CONFIGURATION_FILES

_STALE_S = 3600.0


def needed_files(names: Iterable[str], module_folders: list[str], *, python: bool) -> list[str]:
    """Chooses, of a hub repository's files, those that a conversion reads.

    No second framework's weights, no pickles, nobody else's ONNX.

    Args:
        names: Every file of the repository.
        module_folders: The folders that modules.json names, the transformer's first.
        python: Whether the model's Python code is wanted.

    Returns:
        The chosen names, sorted.
    """
    names = set(names)
    root = f"{module_folders[0]}/" if module_folders and module_folders[0] else ""
    wanted = {prefix + name for name in CONFIGURATION_FILES for prefix in ("", root)} | {CARD_FILE}
    for folder in filter(None, module_folders[1:]):
        inside = (n for n in names if n.startswith(f"{folder}/") and n.count("/") == 1)
        wanted.update(n for n in inside if n.endswith((".json", ".safetensors", ".txt")))
    if f"{root}model.safetensors" in names:
        wanted.add(f"{root}model.safetensors")
    else:
        shard = re.compile(re.escape(root) + r"model-\d+-of-\d+\.safetensors")
        wanted.add(f"{root}model.safetensors.index.json")
        wanted.update(n for n in names if shard.fullmatch(n))
    if python:
        wanted.update(n for n in names if n.endswith(".py") and "/" not in n)
    return sorted(wanted & names)


def compare(
    folder: Path, names: Iterable[str], files: Mapping[str, Announced]
) -> tuple[dict[str, str], list[str]]:
    """Compares files with what the hub announced of them: huggingface_hub looks at sizes only.

    Args:
        folder: Of the snapshot.
        names: Of its files.
        files: What the hub announced.

    Returns:
        The sha256 of those that agree and whose sha256 the hub announced, and the names of those
        that don't agree.
    """
    checked: dict[str, str] = {}
    damaged = []
    for name in names:
        path, announced = folder / name, files[name].content_id
        is_sha256 = len(announced) == 64
        digest = hash_file(path) if is_sha256 else _git_blob(path)
        if digest != announced:
            damaged.append(name)
        elif is_sha256:
            checked[name] = digest
    return checked, damaged


def _git_blob(path: Path) -> str:
    """Returns the id that git gives a file's content: of its type, its length, and itself."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def forget(pointer: Path) -> None:
    """Removes a file from the cache: the entry of the snapshot, and what it points to."""
    pointer.resolve().unlink(missing_ok=True)
    pointer.unlink(missing_ok=True)


def remove_download(request: Request) -> None:
    """Removes a hub model from the cache, all its revisions; it need not be there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = request.cache_dir or Path(constants.HF_HUB_CACHE)
    name = repo_folder_name(repo_id=request.model_id, repo_type="model")
    for folder in (cache / name, cache / ".locks" / name):
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale_parts(blobs: Path) -> None:
    """Removes what downloads that were killed left; one that goes on writes all the time."""
    for part in blobs.glob("*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()


@contextlib.contextmanager
def growth_told(blobs: Path, advance: Callable[[int], None]) -> Iterator[None]:
    """Tells how much comes in while the block runs, whichever way files are transferred.

    Args:
        blobs: Where they go.
        advance: Told how many MB came in since the last time.
    """

    def megabytes() -> int:
        total = 0
        for path in blobs.glob("*"):
            with contextlib.suppress(OSError):  # it was finished and renamed just now
                total += path.stat().st_size
        return round(total / 1e6)

    ended = threading.Event()
    seen = megabytes()

    def watch() -> None:
        nonlocal seen
        while not ended.wait(0.5):
            now = megabytes()
            if now > seen:
                advance(now - seen)
                seen = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
