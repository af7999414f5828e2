"""The only module that opens the network: from a request to a model's files on disk."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embconvert.config import Request
from embconvert.errors import NetworkError, SourceError, UsageError
from embconvert.model import ResolvedModel
from embconvert.source import CONFIGURATION_FILES, parse_modules, read_any_json, resolve_folder

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def local_folder(model_id: str) -> Path | None:
    """Returns the folder that a model id names, or None when it is a hub id.

    Raises:
        UsageError: It is neither.
    """
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        # Not resolved: the output is named after the folder as the user calls it.
        return Path.cwd() / folder if ".." not in folder.parts else folder.resolve()
    if folder.is_file():
        raise UsageError(f"--model_id {model_id} is a file", "give the model's folder")
    if not _HUB_ID.fullmatch(model_id) or ".." in model_id:
        raise UsageError(
            f"--model_id {model_id} is neither a folder nor a hub id",
            "check the path, or write a hub id such as intfloat/e5-small-v2",
        )
    return None


def output_folder(request: Request) -> Path:
    """Returns the folder that the model is published to.

    Raises:
        UsageError: It would be the source folder itself.
    """
    source = local_folder(request.model_id)
    parent = request.output_parent_dir
    folder = parent / (source.name if source else request.model_id)
    if source and folder.resolve() == source.resolve():
        raise UsageError(
            f"the output folder {folder} is the source folder",
            "choose another --output_parent_dir",
        )
    return folder


def resolve(request: Request) -> ResolvedModel:
    """Pins the requested model to one revision, its files on disk.

    Raises:
        SourceError: It cannot be had whole.
        UnsupportedModelError: It would run remote code.
        UsageError: `--revision` with a local folder.
    """
    folder = local_folder(request.model_id)
    if folder is not None:
        if request.revision is not None:
            raise UsageError(
                "--revision is for hub models, and --model_id names a folder",
                "leave --revision out",
            )
        return resolve_folder(
            folder, model_id=request.model_id, trust_remote_code=request.trust_remote_code
        )
    revision, folder = _download(request)
    return resolve_folder(
        folder,
        model_id=request.model_id,
        revision=revision,
        trust_remote_code=request.trust_remote_code,
    )


def _download(request: Request) -> tuple[str, Path]:
    """Fetches what is needed of a hub model; returns its commit and the folder in the cache."""
    if request.quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if request.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    import huggingface_hub
    from huggingface_hub import errors

    options: dict[str, Any] = {"cache_dir": request.cache_dir}
    model_id = request.model_id
    try:
        if request.offline:
            folder = Path(
                huggingface_hub.snapshot_download(
                    model_id, revision=request.revision, local_files_only=True, **options
                )
            )
            return folder.name, folder
        info = huggingface_hub.HfApi().model_info(model_id, revision=request.revision, timeout=30)
        commit = str(info.sha)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        options["revision"] = commit
        modules: list[str] = []
        if "modules.json" in names:
            path = Path(huggingface_hub.hf_hub_download(model_id, "modules.json", **options))
            modules = [m.path for m in parse_modules(read_any_json(path))]
        wanted = needed_files(names, modules, python=request.trust_remote_code)
        folder = Path(
            huggingface_hub.snapshot_download(
                model_id, allow_patterns=[_literal(n) for n in wanted], **options
            )
        )
        _note_revision(folder, request.revision, commit)
    except errors.GatedRepoError as error:
        raise SourceError(
            f"{model_id} is gated",
            "accept its licence on its page on the hub, then set HF_TOKEN to a token that may "
            "read it",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(
            f"the hub has no model {model_id}, or it is private",
            "check the spelling; for a private model set HF_TOKEN",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(
            f"{model_id} has no revision {request.revision}", "give a branch, a tag or a commit"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if not request.offline:
            raise _network_error(model_id, error) from error
        raise SourceError(
            f"{model_id} is not in the cache", "run once without --offline"
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _network_error(model_id, error) from error
    except Exception as error:
        # The client's HTTP library raises its own kinds, outside huggingface_hub's tree.
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise _network_error(model_id, error) from error
        raise
    return commit, folder


def _network_error(model_id: str, error: Exception) -> NetworkError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return NetworkError(
        f"{model_id} cannot be fetched: {first_line}",
        "check the network and HF_ENDPOINT and try again; with a warm cache, use --offline",
    )


def _note_revision(folder: Path, revision: str | None, commit: str) -> None:
    """Lets a later `--offline` run find the commit by its branch or tag.

    snapshot_download writes that reference only when it is asked by name, and it was asked by
    commit so that all files are of one.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return
    reference = folder.parents[1] / "refs" / (revision or "main")
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit, encoding="utf-8")


def _literal(name: str) -> str:
    """Returns an fnmatch pattern that matches this name only."""
    return re.sub(r"([*?[])", r"[\1]", name)


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
    wanted = {prefix + name for name in CONFIGURATION_FILES for prefix in ("", root)}
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
