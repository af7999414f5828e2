"""The only module that opens the network: from a hub id to checked files in the cache."""

import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.console import Console
from embconvert.errors import EmbconvertError, OutputError, SourceError
from embconvert.hub.cache import (
    compare,
    forget,
    growth_told,
    needed_files,
    remove_stale_parts,
)
from embconvert.hub.guard import Announced, Guard
from embconvert.hub.http import LONGEST_WAIT_S, use_patient_client
from embconvert.hub.limits import FILE_BYTES
from embconvert.hub.refusals import translated_errors
from embconvert.hub.settings import check_settings
from embconvert.hub.stored import CachedModel, announced
from embconvert.json_files import read_any_json
from embconvert.request.records import Request
from embconvert.source.settings.module_list import parse_modules

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# A hub answers a few at once without complaint; each takes about a tenth of a second.
_REQUESTS_AT_ONCE = 8
# It counts requests in windows of five minutes, and a long list takes several:
# https://huggingface.co/docs/hub/rate-limits
_RATE_WINDOW_S = 330.0
_OWN_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of one commit, in the cache.

    Attributes:
        commit: Its sha.
        folder: Where they are.
        sha256: Of files whose content is known to be what the hub announces, by name.
    """

    commit: str
    folder: Path
    sha256: Mapping[str, str]


def fetch(request: Request, console: Console) -> Snapshot:
    """Fetches what a conversion needs of a hub model, and checks that it is what the hub has.

    Raises:
        SourceError: There is no such model or revision, it is not to be had with this token, or
            its content is not what the hub announces.
        NetworkError: The hub cannot be reached or fails.
        OutputError: The cache cannot be written.
        UsageError: HF_TOKEN is no token, or HF_ENDPOINT no address.
    """
    guard = _prepare(request, console)
    with translated_errors(request):
        client = _Client(request, console, guard)
        snapshot = client.cached() if request.offline else client.fetched()
    if not request.trust_remote_code:
        # Whatever runs from here on has its files.
        os.environ["HF_HUB_OFFLINE"] = "1"
    return snapshot


def find_commits(
    requests: Sequence[Request], console: Console, advance: Callable[[int], None]
) -> "list[str | EmbconvertError]":
    """Returns the commit that each request's revision is now, or why it cannot be had.

    One request to the hub for each, several at once; nothing is fetched. Offline, the cache tells.

    Args:
        requests: Hub models; the first one's settings count for the connection.
        console: Told of waits.
        advance: Called with 1 for each.
    """
    if not requests:
        return []
    guard = _prepare(requests[0], console, longest_wait_s=_RATE_WINDOW_S)

    def find(request: Request) -> str | EmbconvertError:
        try:
            with translated_errors(request):
                return _Client(request, console, guard).commit()
        except EmbconvertError as error:
            return error
        finally:
            advance(1)

    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(find, requests))


def _prepare(
    request: Request, console: Console, *, longest_wait_s: float = LONGEST_WAIT_S
) -> Guard:
    """Sets the client library up; returns what looks at the hub's answers.

    Raises:
        UsageError: A variable for the way to the hub is malformed.
    """
    # What it shows of xet's transfers and of plain ones differs; growth_told() shows both.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # It would ask the hub once a day how to tell which program started this one.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if request.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if os.environ.get("HF_ENDPOINT", _OWN_HUB).rstrip("/") != _OWN_HUB:
        # xet's transfers go past our limits and checks, to hosts that the hub names. The hub that
        # they were made for is trusted with that, a mirror is not; HF_HUB_DISABLE_XET=0 overrides.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    check_settings()
    import huggingface_hub

    if not request.debug:
        # Its warnings repeat what is said here, with addresses that may carry signatures.
        huggingface_hub.logging.set_verbosity_error()
    return use_patient_client(console.say, longest_wait_s=longest_wait_s)


class _Client:
    """One request's dealings with the hub."""

    def __init__(self, request: Request, console: Console, guard: Guard) -> None:
        import huggingface_hub
        from huggingface_hub import constants

        self._request = request
        self._console = console
        self._guard = guard
        self._model_id = request.model_id
        self._api: HfApi = huggingface_hub.HfApi()
        self._stored = CachedModel(
            request.cache_dir or Path(constants.HF_HUB_CACHE), self._model_id
        )

    def commit(self) -> str:
        """Returns the commit that the revision is now."""
        from huggingface_hub import constants

        if self._request.offline:
            return self._cached_commit()
        info = self._api.model_info(
            self._model_id,
            revision=self._request.revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
        return str(info.sha)

    def fetched(self) -> Snapshot:
        """Returns the snapshot of the revision that the hub has now."""
        commit = self.commit()
        self._stored.check()
        folder = self._stored.snapshot(commit)
        files = self._listing(commit)
        self._guard.announce(commit, files)
        if "modules.json" in files:
            self._download(commit, ["modules.json"])
        wanted = self._wanted(folder, files)
        missing_bytes = self._check_sizes(folder, files, wanted)
        title = f"fetching {self._model_id} (MB)"
        with (
            self._console.progress(title, round(missing_bytes / 1e6)) as advance,
            growth_told(self._stored.folder / "blobs", advance),
        ):
            self._download(commit, wanted)
        self._stored.note(self._request.revision, commit)
        checked, damaged = compare(folder, wanted, files)
        if damaged:
            self._console.warn(
                f"{', '.join(damaged)}: not what the hub announces; fetching it again"
            )
            for name in damaged:
                forget(folder / name)
            self._download(commit, wanted)
            checked, damaged = compare(folder, wanted, files)
        if damaged:
            for name in damaged:
                forget(folder / name)
            raise SourceError(
                f"{damaged[0]} has another content than the hub announces, twice",
                "something between here and the hub changes files; check proxies and HF_ENDPOINT",
            )
        return Snapshot(commit=commit, folder=folder, sha256=checked)

    def cached(self) -> Snapshot:
        """Returns a snapshot that is in the cache whole.

        Raises:
            SourceError: There is none.
        """
        commit = self._cached_commit()
        folder = self._stored.snapshot(commit)
        files = self._stored.listing(commit)
        if files is None:
            self._console.say("the cache has no listing of this commit; hashes are not compared")
            return Snapshot(commit=commit, folder=folder, sha256={})
        wanted = self._wanted(folder, files)
        if any(not (folder / name).exists() for name in wanted):
            raise SourceError(
                f"{self._model_id} is in the cache in part only", "run once without --offline"
            )
        checked, damaged = compare(folder, wanted, files)
        if damaged:
            raise SourceError(
                f"{damaged[0]} in the cache is damaged",
                "run once without --offline, which fetches it again",
            )
        return Snapshot(commit=commit, folder=folder, sha256=checked)

    def _cached_commit(self) -> str:
        """Returns the commit of the revision in the cache; raises SourceError."""
        self._stored.check()
        commit = self._stored.commit(self._request.revision or "main")
        if commit is None:
            raise SourceError(f"{self._model_id} is not in the cache", "run once without --offline")
        return commit

    def _download(self, commit: str, names: Sequence[str]) -> None:
        import huggingface_hub

        huggingface_hub.snapshot_download(
            self._model_id,
            revision=commit,
            allow_patterns=[_literal(name) for name in names],
            cache_dir=self._request.cache_dir,
        )

    def _listing(self, commit: str) -> Mapping[str, Announced]:
        """Returns the files of a commit by name; from the cache where they were listed before."""
        import huggingface_hub

        try:
            files = self._stored.listing(commit)
        except SourceError as error:
            self._console.warn(f"{error.message}; fetching it again")
            self._stored.drop_listing(commit)
            files = None
        if files is None:
            # The listing only, which stays in the cache for what is fetched next.
            self._download(commit, [])
            files = self._stored.listing(commit)
        if files is None:  # a cache that may be read only
            tree = self._api.list_repo_tree(self._model_id, recursive=True, revision=commit)
            files = {
                entry.path: announced(
                    entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None
                )
                for entry in tree
                if isinstance(entry, huggingface_hub.hf_api.RepoFile)
            }
        return files

    def _wanted(self, folder: Path, files: Iterable[str]) -> list[str]:
        modules: list[str] = []
        if (folder / "modules.json").exists():
            modules = [m.path for m in parse_modules(read_any_json(folder / "modules.json"))]
        names = needed_files(files, modules, python=self._request.trust_remote_code)
        known: dict[str, str] = {}
        for name in names:
            # On some file systems they are one file.
            other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if other != name:
                raise SourceError(
                    f"{self._model_id} has files whose names differ in case or accents only: "
                    f"{other} and {name}",
                    "do not use this model",
                )
        return names

    def _check_sizes(
        self, folder: Path, files: Mapping[str, Announced], wanted: Iterable[str]
    ) -> int:
        """Says how many bytes are to be fetched; refuses what is absurd or has no room."""
        missing = {name: files[name].size for name in wanted if not (folder / name).exists()}
        for name, size in missing.items():
            if size > FILE_BYTES and not name.endswith(".safetensors"):
                raise SourceError(
                    f"{name} is {size / 1e6:.0f} MB, which no model needs", "do not use this model"
                )
        need = sum(missing.values())
        if not need:
            return 0
        remove_stale_parts(self._stored.folder / "blobs")
        parents = (folder, *folder.parents)
        free = shutil.disk_usage(next(parent for parent in parents if parent.exists())).free
        if need > free:
            raise OutputError(
                f"the hub cache needs {need / 1e6:.0f} MB for {self._model_id}, and "
                f"{free / 1e6:.0f} MB are free",
                "free some room, or choose another --cache_dir",
            )
        self._console.say(f"fetching {need / 1e6:.1f} MB of {self._model_id}")
        return need


def _literal(name: str) -> str:
    """Returns an fnmatch pattern that matches this name only."""
    return re.sub(r"([*?[])", r"[\1]", name)
