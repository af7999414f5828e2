"""From a hub id to checked files in the cache; only this module fetches models."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.console import Console
from embconvert.errors import EmbconvertError, OutputError, SourceError
from embconvert.hub.cache import (
    check_contents,
    download_progress,
    forget,
    remove_stale_parts,
)
from embconvert.hub.environment import check_environment
from embconvert.hub.guard import Announced, Guard
from embconvert.hub.http import LONGEST_WAIT_S, use_patient_client
from embconvert.hub.refusals import translated_errors
from embconvert.hub.stored import CachedModel, announced
from embconvert.hub.wanted import is_weights_index, wanted_files
from embconvert.request.records import Request
from embconvert.source.settings.routes import read_modules, router_files
from embconvert.source.weights import is_weights

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Hubs accept a few concurrent requests; each takes about a tenth of a second.
_REQUESTS_AT_ONCE = 8
# Rate limits have windows of five minutes, and a long list takes several:
# https://huggingface.co/docs/hub/rate-limits
_RATE_WINDOW_S = 330.0
_OWN_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of one commit, in the cache.

    Attributes:
        sha256: Of files whose content was compared with the hub's hash, by name.
    """

    commit: str
    folder: Path
    sha256: Mapping[str, str]


def fetch(request: Request, console: Console, *, adapter_only: bool = False) -> Snapshot:
    """Fetches the files of a hub model, or only of an adapter, that a conversion needs.

    Raises:
        SourceError: The model or revision does not exist, is not accessible with this token, or its
            content differs from the hub's hashes.
        NetworkError: The hub cannot be reached or fails.
        OutputError: The cache cannot be written.
        UsageError: HF_TOKEN or HF_ENDPOINT is malformed.
    """
    guard = _prepare(request, console)
    with translated_errors(request):
        client = _Client(request, console, guard, adapter_only=adapter_only)
        snapshot = client.cached() if request.offline else client.fetched()
    if not request.trust_remote_code:
        # From here on all files are local.
        os.environ["HF_HUB_OFFLINE"] = "1"
    return snapshot


def find_commits(
    requests: Sequence[Request], console: Console, advance: Callable[[int], None]
) -> "list[str | EmbconvertError]":
    """Returns the current commit of each request's revision, or the error.

    Sends concurrent requests and fetches no files. Offline, it uses the cache. The first request's
    settings apply to the connection. `advance` is called with 1 for each request.
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
    """Configures the client library; returns the guard of its responses.

    Raises UsageError if an environment variable for the hub is malformed.
    """
    # The library shows xet's and other transfers differently; download_progress() shows both.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # Otherwise the library would send a request to the hub once a day.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if request.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if os.environ.get("HF_ENDPOINT", _OWN_HUB).rstrip("/") != _OWN_HUB:
        # xet's transfers bypass our limits and checks, and use hosts that the hub names.
        # huggingface.co is trusted with that, a mirror is not; HF_HUB_DISABLE_XET=0 overrides this.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    check_environment()
    import huggingface_hub

    if not request.debug:
        # Its warnings repeat ours, with URLs that may contain signatures.
        huggingface_hub.logging.set_verbosity_error()
    return use_patient_client(console.say, longest_wait_s=longest_wait_s)


class _Client:
    """The communication with the hub for one request."""

    def __init__(
        self, request: Request, console: Console, guard: Guard, *, adapter_only: bool = False
    ) -> None:
        import huggingface_hub
        from huggingface_hub import constants

        self._request = request
        self._console = console
        self._guard = guard
        self._adapter_only = adapter_only
        self._model_id = request.model_id
        self._api: HfApi = huggingface_hub.HfApi()
        self._stored = CachedModel(
            request.cache_dir or Path(constants.HF_HUB_CACHE), self._model_id
        )

    def commit(self) -> str:
        from huggingface_hub import constants

        if self._request.offline:
            return self._cached_commit()
        info = self._api.model_info(
            self._model_id, revision=self._request.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        return str(info.sha)

    def fetched(self) -> Snapshot:
        commit = self.commit()
        self._stored.check()
        folder = self._stored.snapshot(commit)
        files = self._listing(commit)
        self._guard.announce(commit, files)
        if "modules.json" in files:
            self._download(commit, ["modules.json"])
            routers = [name for name in router_files(read_modules(folder)) if name in files]
            if routers:
                self._download(commit, routers)
        wanted = wanted_files(self._request, folder, files, adapter_only=self._adapter_only)
        if indexes := [name for name in wanted if is_weights_index(name)]:
            self._download(commit, indexes)
            wanted = wanted_files(self._request, folder, files, adapter_only=self._adapter_only)
        missing_bytes = self._check_sizes(folder, files, wanted)
        title = f"fetching {self._model_id} (MB)"
        with (
            self._console.progress(title, round(missing_bytes / 1e6)) as advance,
            download_progress(self._stored.folder / "blobs", advance),
        ):
            self._download(commit, wanted)
        self._stored.note(self._request.revision, commit)
        checked, damaged = check_contents(folder, wanted, files)
        if damaged:
            self._console.warn(
                f"{', '.join(damaged)}: the content differs from the hub's hash; fetching again"
            )
            for name in damaged:
                forget(folder / name)
            self._download(commit, wanted)
            checked, damaged = check_contents(folder, wanted, files)
        if damaged:
            for name in damaged:
                forget(folder / name)
            raise SourceError(
                f"the content of {damaged[0]} differs from the hub's hash, twice",
                "a proxy may change files; check the proxy and HF_ENDPOINT",
            )
        return Snapshot(commit=commit, folder=folder, sha256=checked)

    def cached(self) -> Snapshot:
        """Returns a complete snapshot from the cache; raises SourceError if there is none."""
        commit = self._cached_commit()
        folder = self._stored.snapshot(commit)
        files = self._stored.listing(commit)
        if files is None:
            self._console.say("the cache has no file list of this commit; hashes are not compared")
            return Snapshot(commit=commit, folder=folder, sha256={})
        wanted = wanted_files(self._request, folder, files, adapter_only=self._adapter_only)
        if any(not (folder / name).exists() for name in wanted):
            raise SourceError(
                f"{self._model_id} is incomplete in the cache", "run once without --offline"
            )
        checked, damaged = check_contents(folder, wanted, files)
        if damaged:
            raise SourceError(
                f"{damaged[0]} in the cache is damaged",
                "run once without --offline to fetch it again",
            )
        return Snapshot(commit=commit, folder=folder, sha256=checked)

    def _cached_commit(self) -> str:
        """Returns the commit of the revision in the cache; raises SourceError."""
        self._stored.check()
        commit = self._stored.commit(self._request.revision or "main")
        if commit is None:
            raise SourceError(
                f"{self._model_id} is not in the cache, and there is no folder of that name",
                "run once without --offline",
            )
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
        """Returns the files of a commit by name, from the cache if they were listed before."""
        import huggingface_hub

        try:
            files = self._stored.listing(commit)
        except SourceError as error:
            self._console.warn(f"{error.message}; fetching it again")
            self._stored.drop_listing(commit)
            files = None
        if files is None:
            # Fetches only the listing, which the cache keeps.
            self._download(commit, [])
            files = self._stored.listing(commit)
        if files is None:  # a read-only cache
            tree = self._api.list_repo_tree(self._model_id, recursive=True, revision=commit)
            files = {
                entry.path: announced(
                    entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None
                )
                for entry in tree
                if isinstance(entry, huggingface_hub.hf_api.RepoFile)
            }
        return files

    def _check_sizes(
        self, folder: Path, files: Mapping[str, Announced], wanted: Iterable[str]
    ) -> int:
        """Returns how many bytes must be fetched; refuses absurd sizes and full disks."""
        missing = {name: files[name].size for name in wanted if not (folder / name).exists()}
        for name, size in missing.items():
            if size > self._guard.limits.file_bytes and not is_weights(name):
                raise SourceError(
                    f"{name} is {size / 1e6:.0f} MB, far more than any model needs",
                    "do not use this model",
                )
        need = sum(missing.values())
        if not need:
            return 0
        remove_stale_parts(self._stored.folder / "blobs")
        parents = (folder, *folder.parents)
        free = shutil.disk_usage(next(parent for parent in parents if parent.exists())).free
        if need > free:
            raise OutputError(
                f"the hub cache needs {need / 1e6:.0f} MB for {self._model_id}, but only "
                f"{free / 1e6:.0f} MB are free",
                "free some space, or choose another --cache_dir",
            )
        self._console.say(f"fetching {need / 1e6:.1f} MB of {self._model_id}")
        return need


def _literal(name: str) -> str:
    """Returns an fnmatch pattern that matches only this name."""
    return re.sub(r"([*?[])", r"[\1]", name)
