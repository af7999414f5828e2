"""Where a request's model is, and where the result is published.

It imports little, because a conversion asks before most of the program is imported.
"""

import contextlib
import re
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.foreign_text import file_name
from embconvert.models.suggestions import nearest
from embconvert.request.records import Request

# See huggingface_hub.utils.validate_repo_id.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
# An id has at most 96 characters, with the name of its owner.
_MAX_NAME = 64

# What people copy from a browser, and other programs' way to name a revision.
_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+).*")
_WITH_REVISION = re.compile(r"([^@]+)@([^@]+)")


def is_hub_id(model_id: str) -> bool:
    """Whether it is written as a hub id is; a folder may have the same name."""
    in_order = ".." not in model_id and "--" not in model_id
    return in_order and _HUB_ID.fullmatch(model_id) is not None


def repository_name(folder: str) -> str:
    """Returns the name of a folder as one that a hub accepts for a repository."""
    accepted = re.sub(
        r"[^A-Za-z0-9_]+", lambda run: run[0] if run[0] in ("-", ".") else "-", folder
    )
    return accepted[:_MAX_NAME].strip("-._") or "model"


def local_folder(model_id: str, *, option: str = "model_id") -> Path | None:
    """Returns the folder that a model id names, or None for a hub id.

    Raises UsageError, which names the option by which it was given, if it is neither.
    """
    hint = "check the path, or write a hub id such as intfloat/e5-small-v2"
    if option == "adapter":  # it may come from a manifest, which has no private paths
        hint = "give the folder or hub id of each adapter by --adapter"
    try:
        folder = Path(model_id).expanduser()
    except RuntimeError:  # the home of an unknown user
        folder = Path(model_id)
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except OSError as error:  # its name is too long, or a parent folder may not be searched
        raise UsageError(
            f"--{option} {model_id[:200]} cannot be read: {error.strerror}",
            "check the path and its permissions, or write a hub id such as intfloat/e5-small-v2",
        ) from error
    if is_folder:
        # Not resolved: the output folder gets the name that the user gave.
        folder = Path.cwd() / folder if ".." not in folder.parts else folder.resolve()
        if not folder.name:
            raise UsageError(f"--{option} {model_id} has no name", "give the model's folder")
        return folder
    if is_file:
        raise UsageError(f"--{option} {model_id} is a file", "give the model's folder")
    if not is_hub_id(model_id):
        raise UsageError(
            f"--{option} {model_id}: there is no folder of that name, and it is not a hub id",
            _meant(model_id, option) or _near_folder(folder) + hint,
        )
    return None


def _meant(model_id: str, option: str) -> str | None:
    """Returns a hint at a hub id in what is none, such as the address of its page; None if none."""
    page, parts = _PAGE.fullmatch(model_id), _WITH_REVISION.fullmatch(model_id)
    if page is not None and is_hub_id(page[1]):
        return f"write --{option} {page[1]}"
    if parts is not None and is_hub_id(parts[1]) and option == "model_id":
        return f"write --{option} {parts[1]} --revision {parts[2]}"
    return None


def _near_folder(folder: Path) -> str:
    """Returns the beginning of a hint: a folder with a similar name, if there is one."""
    beside: list[str] = []
    with contextlib.suppress(OSError):
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()]
    near = nearest(folder.name, beside)
    return f"did you mean {folder.with_name(near)}? " if near else ""


def output_folder(request: Request) -> Path:
    """Returns the folder to which the model is published.

    It is named after the source, without invisible characters, because scripts, logs and pages use
    the name. A route has its own folder inside of it. Raises UsageError if it is the source folder.
    """
    source = local_folder(request.model_id)
    parent = request.output_parent_dir
    folder = parent / (file_name(source.name) if source else request.model_id)
    if request.route is not None:
        folder /= request.route
    if source and folder.resolve() == source.resolve():
        raise UsageError(
            f"the output folder {folder} is the source folder", "choose another --output_parent_dir"
        )
    return folder
