"""The hub's files in the cache: whether their content is right, their arrival, their removal."""

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from embconvert.graph.streams import hash_file
from embconvert.hub.guard import Announced
from embconvert.request.records import Request

_STALE_S = 3600.0


def check_contents(
    folder: Path, names: Iterable[str], files: Mapping[str, Announced]
) -> tuple[dict[str, str], list[str]]:
    """Compares files with the hub's hashes; huggingface_hub compares only sizes.

    Returns the sha256 of intact files, if the hub announced it, and the names of damaged files.
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
    """Returns git's id of a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def forget(pointer: Path) -> None:
    """Removes a file from the cache: the snapshot's link and its target."""
    pointer.resolve().unlink(missing_ok=True)
    pointer.unlink(missing_ok=True)


def remove_download(request: Request) -> None:
    """Removes all revisions of a hub model from the cache, if it is there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = request.cache_dir or Path(constants.HF_HUB_CACHE)
    name = repo_folder_name(repo_id=request.model_id, repo_type="model")
    for folder in (cache / name, cache / ".locks" / name):
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale_parts(blobs: Path) -> None:
    """Removes files of killed downloads; active ones are written constantly."""
    for part in blobs.glob("*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()


@contextlib.contextmanager
def download_progress(blobs: Path, advance: Callable[[int], None]) -> Iterator[None]:
    """Reports the MB that arrived in a folder while the block runs, for every transfer method."""

    def megabytes() -> int:
        total = 0
        for path in blobs.glob("*"):
            with contextlib.suppress(OSError):  # it was just finished and renamed
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
