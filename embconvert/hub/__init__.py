"""From a request to a model's files on disk; only hub.client opens the network."""

import re
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.foreign_text import file_name
from embconvert.hub.cache import remove_download
from embconvert.hub.client import fetch, find_commits
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder

__all__ = ["check", "find_commits", "local_folder", "output_folder", "remove_download", "resolve"]

# Names as the hub has them: huggingface_hub.utils.validate_repo_id.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
# git-check-ref-format(1); the client makes a path of it in its cache.
_REVISION = re.compile(r"(?!.*\.\.)(?!.*//)[\w.+][\w.+/-]*(?<![/.])", re.ASCII)


def local_folder(model_id: str) -> Path | None:
    """Returns the folder that a model id names, or None when it is a hub id.

    Raises:
        UsageError: It is neither.
    """
    try:
        folder = Path(model_id).expanduser()
    except RuntimeError:  # the home of an unknown user
        folder = Path(model_id)
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except OSError as error:  # its name is too long, or a folder above it may not be searched
        raise UsageError(
            f"--model_id {model_id[:200]} cannot be looked at: {error.strerror}",
            "check the path and its permissions, or write a hub id such as intfloat/e5-small-v2",
        ) from error
    if is_folder:
        # Not resolved: the output is named after the folder as the user calls it.
        folder = Path.cwd() / folder if ".." not in folder.parts else folder.resolve()
        if not folder.name:
            raise UsageError(f"--model_id {model_id} has no name", "give the model's folder")
        return folder
    if is_file:
        raise UsageError(f"--model_id {model_id} is a file", "give the model's folder")
    if not _HUB_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise UsageError(
            f"--model_id {model_id} is neither a folder nor a hub id",
            "check the path, or write a hub id such as intfloat/e5-small-v2",
        )
    return None


def output_folder(request: Request) -> Path:
    """Returns the folder that the model is published to.

    It is named after the source, but for characters that cannot be seen: its name goes into
    scripts, logs and pages.

    Raises:
        UsageError: It would be the source folder itself.
    """
    source = local_folder(request.model_id)
    parent = request.output_parent_dir
    folder = parent / (file_name(source.name) if source else request.model_id)
    if source and folder.resolve() == source.resolve():
        raise UsageError(
            f"the output folder {folder} is the source folder",
            "choose another --output_parent_dir",
        )
    return folder


def check(request: Request) -> None:
    """Checks what can be known of a source without looking at it.

    Raises:
        UsageError: `--revision` with a local folder, or no revision's name.
    """
    if request.revision is None:
        return
    if local_folder(request.model_id) is not None:
        raise UsageError(
            "--revision is for hub models, and --model_id names a folder", "leave --revision out"
        )
    if not _REVISION.fullmatch(request.revision):
        raise UsageError(
            f"--revision {request.revision!r} is no name of a revision",
            "give a branch, a tag or a commit",
        )


def resolve(request: Request, console: Console) -> ResolvedModel:
    """Pins the requested model to one revision, its files on disk.

    Raises:
        SourceError: It cannot be had whole.
        NetworkError: The hub cannot be reached or fails.
        OutputError: The hub cache cannot be written.
        UnsupportedModelError: It would run remote code.
        UsageError: `--revision` with a local folder, or no revision's name.
    """
    check(request)
    folder = local_folder(request.model_id)
    if folder is not None:
        resolved = resolve_folder(
            folder, model_id=request.model_id, trust_remote_code=request.trust_remote_code
        )
    else:
        snapshot = fetch(request, console)
        resolved = resolve_folder(
            snapshot.folder,
            model_id=request.model_id,
            revision=snapshot.commit,
            trust_remote_code=request.trust_remote_code,
            sha256=snapshot.sha256,
        )
    if resolved.unknown_settings:
        console.say(f"settings that nothing reads: {', '.join(resolved.unknown_settings[:20])}")
    return resolved
