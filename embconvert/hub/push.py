"""Uploading a published folder: the other half of what opens the network.

Large files go first, one after the other, by the hub's LFS protocol: what the hub has already is
not sent again, so a push that broke off goes on where it was. Then one commit makes all files
visible at once; until then the repository is as it was.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.console import Console
from embconvert.errors import EmbconvertError, NetworkError, OutputError, UsageError
from embconvert.hub.http import use_upload_client
from embconvert.hub.refusals import first_line, from_library
from embconvert.hub.settings import check_settings, check_token
from embconvert.manifest import MANIFEST_FILE
from embconvert.manifest.codec import MAX_BYTES, parse_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_AGAIN = "run it again: what the hub has already is not sent again"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a folder goes.

    Attributes:
        repo_id: `org/name`.
        private: Of a repository that is made for it.
        revision: The branch, made when it is missing; None means the main one.
        create_pr: Open a pull request instead.
    """

    repo_id: str
    private: bool = False
    revision: str | None = None
    create_pr: bool = False


def upload(
    files: Mapping[str, BufferedReader], destination: Destination, message: str, console: Console
) -> str:
    """Uploads files of a folder in one commit; returns an address to look at.

    Files that an earlier push left and that the folder's manifest does not list are removed from
    the repository; files that no manifest lists stay.

    Args:
        files: Open at their beginnings, by their paths in the repository.
        destination: Where to.
        message: Of the commit.
        console: Shows how far it is.

    Raises:
        UsageError: There is no usable token.
        OutputError: The hub refuses.
        NetworkError: The hub cannot be reached or fails.
    """
    # The hub's other protocol has no single commit for a folder that is large, and not every hub
    # speaks it; HF_HUB_DISABLE_XET=0 asks for it all the same.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    check_settings()
    import huggingface_hub

    if not console.debug:
        huggingface_hub.logging.set_verbosity_error()
    use_upload_client()
    if not check_token():
        raise UsageError(
            "there is no token to upload with", "set HF_TOKEN to a token that may write"
        )
    with _translated_errors(destination):
        return _Upload(huggingface_hub.HfApi(), destination, console).run(files, message)


class _Upload:
    """One upload."""

    def __init__(self, api: "HfApi", destination: Destination, console: Console) -> None:
        self._api = api
        self._to = destination
        self._console = console

    def run(self, files: Mapping[str, BufferedReader], message: str) -> str:
        """Uploads; see upload."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        made = self._api.create_repo(self._to.repo_id, private=self._to.private, exist_ok=True)
        repo_id = str(made.repo_id)  # with the user's name, where only a name was given
        if self._to.repo_id not in (repo_id, repo_id.partition("/")[2]):
            raise NetworkError(
                f"the hub answers with another repository than {self._to.repo_id}: {repo_id}",
                "check the name: the hub may have renamed it, and HF_ENDPOINT",
            )
        if self._to.revision is not None:
            self._api.create_branch(repo_id, branch=self._to.revision, exist_ok=True)
        stale = sorted(self._earlier_files(repo_id) - set(files))
        additions = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=stream)
            for file, stream in files.items()
        ]
        self._send_large(repo_id, additions)
        commit = self._api.create_commit(
            repo_id,
            operations=[*(CommitOperationDelete(path_in_repo=file) for file in stale), *additions],
            commit_message=message,
            revision=self._to.revision,
            create_pr=self._to.create_pr,
        )
        for file in stale:
            self._console.say(f"removed {file}, which an earlier push left")
        return str(commit.pr_url or made)

    def _send_large(self, repo_id: str, additions: Sequence[Any]) -> None:
        """Sends the files that the hub keeps apart from git, each as soon as it can be."""
        total = round(sum(addition.upload_info.size for addition in additions) / 1e6)
        with self._console.progress(f"uploading to {repo_id} (MB)", total) as advance:
            for addition in sorted(additions, key=lambda a: -a.upload_info.size):
                self._api.preupload_lfs_files(
                    repo_id,
                    [addition],
                    revision=self._to.revision,
                    create_pr=self._to.create_pr,
                    # The commit compares its content with the repository's.
                    free_memory=False,
                )
                advance(round(addition.upload_info.size / 1e6))

    def _earlier_files(self, repo_id: str) -> set[str]:
        """Returns the files that the repository's manifest lists; none when it has none."""
        import tempfile

        from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

        with tempfile.TemporaryDirectory() as cache:
            try:
                path = self._api.hf_hub_download(
                    repo_id, MANIFEST_FILE, revision=self._to.revision, cache_dir=cache
                )
            except (EntryNotFoundError, RevisionNotFoundError):
                return set()
            try:
                with Path(path).open("rb") as stream:
                    return parse_manifest(stream.read(MAX_BYTES + 1)).paths()
            except ValueError:
                self._console.warn(
                    f"{repo_id} has a manifest that cannot be read; nothing of it is removed"
                )
                return set()


@contextlib.contextmanager
def _translated_errors(destination: Destination) -> Iterator[None]:
    """Turns the client's errors into this program's."""
    from huggingface_hub import errors

    repo_id = destination.repo_id
    try:
        yield
    except EmbconvertError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"--repo_id {repo_id} is no name", first_line(error)) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise OutputError(
                f"the hub does not let this token write {repo_id}",
                "set HF_TOKEN to a token of somebody who may write there",
            ) from error
        if status in (403, 404):
            raise OutputError(
                f"the hub does not let this token write {repo_id}",
                "check the name, and that the token has the right to write there",
            ) from error
        if 400 <= status < 500 and status not in (408, 429):
            raise OutputError(f"the hub refuses: {first_line(error)}", _AGAIN) from error
        raise NetworkError(f"the hub fails: {first_line(error)}", _AGAIN) from error
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError) and error.filename:
            raise OutputError(
                f"{error.filename} cannot be read: {error.strerror}", _AGAIN
            ) from error
        if isinstance(error, OSError) or package in ("httpx2", "httpcore2"):
            raise NetworkError(f"the hub cannot be reached: {first_line(error)}", _AGAIN) from error
        if isinstance(error, RuntimeError | ValueError):
            # The client's own kinds for an upload that did not arrive.
            raise NetworkError(f"the upload failed: {first_line(error)}", _AGAIN) from error
        if from_library(error):
            raise NetworkError(
                f"what the hub answers cannot be understood: {first_line(error)}",
                "check that HF_ENDPOINT is a Hugging Face hub's address, and proxies",
            ) from error
        raise
