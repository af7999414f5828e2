"""Uploads a published folder to a hub.

Large files are uploaded first, one after the other, by the hub's LFS protocol. The hub's files are
not sent again, so running it again continues an interrupted push. Then one commit makes all files
visible at once; until then the repository is unchanged.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.console import Console
from embconvert.errors import EmbconvertError, NetworkError, OutputError, UsageError
from embconvert.hub.environment import check_environment, check_token
from embconvert.hub.http import use_upload_client
from embconvert.hub.refusals import from_library, public_line
from embconvert.manifest import MANIFEST_FILE
from embconvert.manifest.codec import MAX_BYTES, parse_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_AGAIN = "run the command again: files that the hub already has are not sent again"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a folder is uploaded.

    Attributes:
        private: For a repository that is created.
        revision: Branch, created if it does not exist; None means the main branch.
    """

    repo_id: str
    private: bool = False
    revision: str | None = None
    create_pr: bool = False


#: Returns the open files to upload, by path, for a repository (org/name) of a hub (its URL): the
#: pages name the repository, whose full name is known only after it was created.
FilesFor = Callable[[str, str], Mapping[str, BufferedIOBase]]


def upload(files_for: FilesFor, destination: Destination, message: str, console: Console) -> str:
    """Uploads files of a folder in one commit; returns the URL of the result.

    Files of an earlier push that are not among `files` are removed from the repository; other files
    are kept.

    Raises:
        UsageError: There is no usable token.
        OutputError: The hub refuses the upload.
        NetworkError: The hub cannot be reached or fails.
    """
    # The hub's other protocol (xet) has no single commit for large folders, and not every hub
    # supports it; HF_HUB_DISABLE_XET=0 enables it nevertheless.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    check_environment()
    import huggingface_hub

    if not console.debug:
        huggingface_hub.logging.set_verbosity_error()
    use_upload_client()
    if not check_token():
        raise UsageError(
            "there is no token for the upload", "set HF_TOKEN to a token with write access"
        )
    with _translated_errors(destination):
        return _Uploading(huggingface_hub.HfApi(), destination, console).run(files_for, message)


class _Uploading:
    def __init__(self, api: "HfApi", destination: Destination, console: Console) -> None:
        self._api = api
        self._to = destination
        self._console = console

    def run(self, files_for: FilesFor, message: str) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        made = self._api.create_repo(self._to.repo_id, private=self._to.private, exist_ok=True)
        repo_id = str(made.repo_id)  # with the user name, if only a name was given
        if self._to.repo_id not in (repo_id, repo_id.partition("/")[2]):
            raise NetworkError(
                f"the hub returned the repository {repo_id} instead of {self._to.repo_id}",
                "check HF_ENDPOINT and the name; the repository may have been renamed",
            )
        files = files_for(repo_id, str(self._api.endpoint))
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
            self._console.say(f"removed {file} of an earlier push")
        return str(commit.pr_url or made)

    def _send_large(self, repo_id: str, additions: Sequence[Any]) -> None:
        """Uploads the files that the hub stores outside git."""
        total = round(sum(addition.upload_info.size for addition in additions) / 1e6)
        with self._console.progress(f"uploading to {repo_id} (MB)", total) as advance:
            for addition in sorted(additions, key=lambda a: -a.upload_info.size):
                self._api.preupload_lfs_files(
                    repo_id,
                    [addition],
                    revision=self._to.revision,
                    create_pr=self._to.create_pr,
                    # The commit reads the content again, to compare it with the repository.
                    free_memory=False,
                )
                advance(round(addition.upload_info.size / 1e6))

    def _earlier_files(self, repo_id: str) -> set[str]:
        """Returns the files in the repository's manifest; none if it has none."""
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
                    f"the manifest of {repo_id} cannot be read; its files are not removed"
                )
                return set()


@contextlib.contextmanager
def _translated_errors(destination: Destination) -> Iterator[None]:
    """Turns the client's errors into embconvert's."""
    from huggingface_hub import errors

    repo_id = destination.repo_id
    try:
        yield
    except EmbconvertError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"--repo_id {repo_id} is not a valid name", public_line(error)) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise OutputError(
                f"the hub does not allow this token to write to {repo_id}",
                "set HF_TOKEN to a token with write access"
                if status == 401
                else "check the name, and that the token has write access",
            ) from error
        if 400 <= status < 500 and status not in (408, 429):
            raise OutputError(
                f"the hub refuses the upload: {public_line(error)}", _AGAIN
            ) from error
        raise NetworkError(f"the hub fails: {public_line(error)}", _AGAIN) from error
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError) and error.filename:
            raise OutputError(
                f"{error.filename} cannot be read: {error.strerror}", _AGAIN
            ) from error
        if isinstance(error, OSError) or package in ("httpx2", "httpcore2"):
            raise NetworkError(
                f"the hub cannot be reached: {public_line(error)}", _AGAIN
            ) from error
        if isinstance(error, RuntimeError | ValueError):
            # The client's errors for a failed upload.
            raise NetworkError(f"the upload failed: {public_line(error)}", _AGAIN) from error
        if from_library(error):
            raise NetworkError(
                f"the hub's response cannot be read: {public_line(error)}",
                "check the proxy, and that HF_ENDPOINT is the URL of a Hugging Face hub",
            ) from error
        raise
