"""Outputs of graphs that were computed before, in one SQLite file for each graph.

SQLite writes atomically and lets several processes share a file. The files are the user's own, so
their content is trusted; a damaged one is replaced.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from embconvert.evaluation.scoring import Row
from embconvert.processes.bounds import lowered

#: Maximum size of all files; the least recently used are removed.
MAX_CACHE_BYTES = 1 << 33
_KEY_BYTES = 16
#: Number of keys of a query; SQLite allows 32,766.
_KEYS = 1000
# Other processes write for less than a second at a time.
_PATIENCE_S = 60.0


def cache_folder(content: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the folder of a cache, beside the hub's; None for a user without a home.

    Args:
        content: What it has.
    """
    usual = Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    try:
        home = Path(environment.get("HF_HOME") or usual).expanduser()
    except RuntimeError:
        return None
    return home / "embconvert" / content


def key_of(*parts: str) -> bytes:
    """Returns the key of a text from all that its output depends on beside the graph."""
    digest = hashlib.blake2b(digest_size=_KEY_BYTES)
    for part in parts:
        content = part.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.digest()


class Cache:
    """The outputs of one graph, with all that determines them; a context manager.

    After the first failure, which is reported, nothing is cached. The folder is that of
    cache_folder().
    """

    def __init__(self, folder: Path | None, graph: str, say: Callable[[str], None]) -> None:
        self._say = say
        self._database: sqlite3.Connection | None = None
        if folder is None:
            say("outputs are not cached: this user has no home folder; set HF_HOME to another")
            return
        self._path = folder / f"{hashlib.sha256(graph.encode()).hexdigest()[:32]}.sqlite"
        self._most_bytes = lowered("EVALUATION_CACHE_BYTES", MAX_CACHE_BYTES)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_oldest(folder, self._most_bytes, kept=self._path)
            self._database = self._open()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        for attempt in (1, 2):
            database = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)
            try:
                # A cache may lose its last entries when the machine fails.
                database.execute("PRAGMA synchronous = OFF")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
                )
                os.utime(self._path)
                return database
            except sqlite3.OperationalError:
                database.close()
                raise
            except sqlite3.DatabaseError:
                database.close()
                if attempt == 2:
                    raise
                self._path.unlink()
        raise AssertionError

    def _give_up(self, error: Exception) -> None:
        self._database = None
        self._say(f"outputs are not cached in {self._path.parent}: {error}")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Returns the outputs that are known."""
        found: dict[bytes, Row] = {}
        if self._database is None:
            return found
        try:
            for start in range(0, len(keys), _KEYS):
                some = keys[start : start + _KEYS]
                query = f"SELECT key, row FROM rows WHERE key IN ({','.join('?' * len(some))})"
                found.update(self._database.execute(query, some))
        except sqlite3.Error as error:
            self._give_up(error)
        return found

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Adds outputs, all or none of them; beyond the maximum size, none."""
        if self._database is None:
            return
        try:
            if self._path.stat().st_size > self._most_bytes:
                self._say(f"the cache of outputs is full: more than {self._most_bytes} bytes")
                self._database = None
                return
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", rows.items())
            self._database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()


def remove_oldest(folder: Path, most_bytes: int, *, kept: Path) -> None:
    """Removes files of a cache, with the suffix of `kept`, until the others are small enough."""
    found = []
    for path in folder.glob(f"*{kept.suffix}"):
        with contextlib.suppress(FileNotFoundError):  # another run has removed it
            found.append((path.lstat(), path))
    total = sum(status.st_size for status, _ in found)
    for status, path in sorted(found, key=lambda entry: entry[0].st_mtime):
        if total <= most_bytes:
            return
        if path != kept:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            total -= status.st_size
