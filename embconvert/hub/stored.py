"""Validates the hub cache before huggingface_hub reads it, as others may have written it.

The library follows links, waits for pipes, and trusts the content of `refs` and `trees`. Here a
cached model must consist of regular files and links between them. The cache may still change
afterwards; contents are compared with their hashes in any case.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from embconvert.errors import SourceError
from embconvert.hub.answer_values import COMMIT, CONTENT_ID, is_file_name
from embconvert.hub.answers import listed_file
from embconvert.hub.guard import Announced
from embconvert.hub.limits import LISTING_ENTRIES

_MAX_LISTING_BYTES = 1 << 26
_FOLDERS = ("blobs", "refs", "snapshots", "trees")


class CachedModel:
    """A model's folder in the hub cache, which may not exist."""

    def __init__(self, cache: Path, model_id: str) -> None:
        self.cache = cache.expanduser().resolve()
        self.folder = self.cache / f"models--{model_id.replace('/', '--')}"

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def check(self) -> None:
        """Checks that there are only files and folders, and that no link leaves the cache.

        Raises SourceError if there is another kind of entry, or one that cannot be read.
        """
        locks = self.cache / ".locks"
        try:
            for folder in (locks, locks / self.folder.name, self.folder):
                self._check_folder(folder)
            tag = self.cache / "CACHEDIR.TAG"
            if os.path.lexists(tag):
                self._check_file(tag)
            for lock in _entries(locks / self.folder.name):
                self._check_file(lock)
            folders = [self.folder / name for name in _FOLDERS]
            for folder in folders:
                self._check_folder(folder)
            for folder in folders:
                self._check_below(folder)
        except OSError as error:
            raise SourceError(
                f"the hub cache cannot be read: {error.strerror}: {error.filename}",
                "fix its permissions, or choose another --cache_dir",
            ) from error

    def commit(self, revision: str) -> str | None:
        """Returns the cached commit of a revision, or None; raises SourceError if it is damaged."""
        if COMMIT.fullmatch(revision):
            return revision if self.snapshot(revision).is_dir() else None
        reference = self.folder / "refs" / revision
        if not reference.is_file():
            return None
        with reference.open("rb") as stream:
            text = stream.read(100).decode("ascii", "replace").strip()
        if not COMMIT.fullmatch(text):
            raise SourceError(
                f"{reference} in the hub cache is damaged: it is not a commit",
                "remove it and run once without --offline",
            )
        return text if self.snapshot(text).is_dir() else None

    def note(self, revision: str | None, commit: str) -> None:
        """Writes a reference, by which a later `--offline` run finds the commit.

        snapshot_download writes it only for downloads by name, but ours are by commit, so that all
        files are of the same one.
        """
        if revision is not None and COMMIT.fullmatch(revision):
            return
        reference = self.folder / "refs" / (revision or "main")
        if reference.is_file() and reference.read_bytes() == commit.encode():
            return
        reference.parent.mkdir(parents=True, exist_ok=True)
        temporary = reference.with_name(f"{reference.name}.{os.getpid()}.tmp")
        temporary.write_text(commit, encoding="utf-8")
        temporary.replace(reference)

    def listing(self, commit: str) -> Mapping[str, Announced] | None:
        """Returns the files of a commit by name, as listed by the hub; None without listing.

        Raises SourceError if the listing is damaged.
        """
        path = self.folder / "trees" / f"{commit}.json"
        try:
            with path.open("rb") as stream:
                text = stream.read(_MAX_LISTING_BYTES + 1)
            if len(text) > _MAX_LISTING_BYTES:
                raise ValueError("it is too large")
            return _listing(json.loads(text))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            reason = "its JSON is nested too deeply" if isinstance(error, RecursionError) else error
            raise SourceError(
                f"{path} in the hub cache is damaged: {reason}",
                "remove it and run once without --offline",
            ) from error

    def drop_listing(self, commit: str) -> None:
        (self.folder / "trees" / f"{commit}.json").unlink(missing_ok=True)

    def _check_below(self, folder: Path) -> None:
        for path in _entries(folder):
            if path.is_dir() and not path.is_symlink():
                self._check_below(path)
                continue
            self._check_file(path)
            if path.exists() and not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def _check_folder(self, folder: Path) -> None:
        if os.path.lexists(folder) and not stat.S_ISDIR(folder.lstat().st_mode):
            raise self._refusal(folder, "not a folder")

    def _check_file(self, path: Path) -> None:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return
        if not stat.S_ISLNK(mode):
            raise self._refusal(path, "not a regular file")
        # Snapshots are links to blobs, which may be links to blobs that models share.
        below = path.relative_to(self.cache).parts[1:2]
        target = Path(os.path.realpath(path))
        homes = (self.folder / "blobs", self.cache / "blobs")
        if below not in (("snapshots",), ("blobs",)) or not any(
            target.is_relative_to(home) for home in homes
        ):
            raise self._refusal(path, f"a link to {target}")
        if target.exists() and not target.is_file():
            raise self._refusal(path, f"a link to {target}, which is not a regular file")

    def _refusal(self, path: Path, what: str) -> SourceError:
        return SourceError(
            f"{path} in the hub cache is {what}, which huggingface_hub never creates",
            f"remove {self.folder if path.is_relative_to(self.folder) else path} (it is fetched "
            "again), or choose another --cache_dir",
        )


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except FileNotFoundError:
        return


def _listing(value: object) -> dict[str, Announced]:
    """Parses a listing as huggingface_hub/_tree_cache.py writes it; raises ValueError."""
    if not isinstance(value, dict) or value.get("format_version") != 1:
        raise ValueError("not a listing")
    entries = value.get("files")
    if not isinstance(entries, dict) or len(entries) > LISTING_ENTRIES:
        raise ValueError("not a listing")
    files = {}
    for name, entry in entries.items():
        if not is_file_name(name) or not isinstance(entry, dict):
            raise ValueError("not a file name")
        lfs = None
        if entry.get("lfs_sha256") is not None:
            lfs = {"oid": entry["lfs_sha256"], "size": entry.get("lfs_size")}
        known = listed_file(
            {"path": name, "size": entry.get("size"), "oid": entry.get("blob_id"), "lfs": lfs,
             "xetHash": entry.get("xet_hash")}
        )  # fmt: skip
        files[name] = announced(known["size"], known["oid"], known.get("lfs", {}).get("oid"))
    return files


def announced(size: int, blob_id: str, sha256: str | None) -> Announced:
    """Returns the size of a listed file, and the hash in its ETag."""
    digest = sha256 or blob_id
    assert CONTENT_ID.fullmatch(digest), "listings are validated earlier"
    return Announced(size=size, content_id=digest)
