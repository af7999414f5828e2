"""Finds a model's files: a local folder, or the hub through hub.client."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.foreign_text import json_string
from embconvert.hub.adapted import Found, resolve_adapted
from embconvert.hub.cache import remove_download
from embconvert.hub.client import fetch, find_commits
from embconvert.json_files import read_json
from embconvert.models.values import ResolvedModel
from embconvert.request.places import is_hub_id, local_folder
from embconvert.request.records import Request
from embconvert.source.distrust import code_of_tokenizer
from embconvert.source.folder import CLASSIFIER_SETTINGS
from embconvert.source.stand_ins import stand_ins
from embconvert.source.weights import is_pickle

__all__ = ["check", "find_commits", "remove_download", "resolve"]

_TOKENIZER_CONFIG = "tokenizer_config.json"
# See git-check-ref-format(1); huggingface_hub uses it as a path in the cache.
_REVISION = re.compile(r"(?!.*\.\.)(?!.*//)[\w.+][\w.+/-]*(?<![/.])", re.ASCII)


def check(request: Request) -> None:
    """Raises UsageError for --revision with a local folder or with an invalid name."""
    if request.revision is None:
        return
    if local_folder(request.model_id) is not None:
        raise UsageError(
            "--revision is for hub models, but --model_id is a local folder", "remove --revision"
        )
    if not _REVISION.fullmatch(request.revision):
        raise UsageError(
            f"--revision {request.revision!r} is not a valid revision",
            "give a branch, a tag or a commit",
        )


def resolve(request: Request, console: Console) -> ResolvedModel:
    """Returns the model, pinned to one revision, with its files on disk.

    Raises:
        SourceError: It is incomplete or not available.
        NetworkError: The hub cannot be reached or fails.
        OutputError: The hub cache cannot be written.
        UnsupportedModelError: It requires remote code.
        UsageError: As `check`.
    """
    check(request)
    name = request.model_id
    if "/" in name and is_hub_id(name) and local_folder(name) is not None:
        console.say(f"{name} is a folder here, so the hub is not asked")
    resolved = resolve_adapted(request, console, partial(_find, console))
    if any(is_pickle(path) for paths in stand_ins(resolved).values() for path in paths):
        console.say("the weights are read from pickles, without running them")
    if resolved.unknown_settings:
        console.say(f"ignored unknown settings: {', '.join(resolved.unknown_settings[:20])}")
    if (resolved.folder / CLASSIFIER_SETTINGS).is_file():
        console.warn(
            f"the model is one of SetFit, as its {CLASSIFIER_SETTINGS} says: its classifier "
            "(model_head.pkl) is left out, and the graphs give the embeddings that it reads"
        )
    _tell_of_tokenizer(resolved, console)
    return resolved


def _tell_of_tokenizer(resolved: ResolvedModel, console: Console) -> None:
    """Warns about code for the tokenizer that is not run."""
    # A static model's is read by tokenizers, whatever is trusted.
    if resolved.settings is None or resolved.static is not None:
        return
    for file in (f.path for f in resolved.files if PurePath(f.path).name == _TOKENIZER_CONFIG):
        code = code_of_tokenizer(read_json(resolved.path(file)))
        if code is not None:
            console.warn(
                f"{file} names the model's own code for its tokenizer, {json_string(code)}: "
                "without --trust_remote_code texts are read by transformers' own class, as "
                "sentence-transformers does it then"
            )


def _find(console: Console, request: Request, adapter_only: bool) -> Found:
    """Returns the files of a request's model, or adapter, from its folder or from the hub."""
    option = "adapter" if adapter_only else "model_id"
    folder = local_folder(request.model_id, option=option)
    if folder is not None:
        return Found(model_id=request.model_id, folder=folder)
    parent = Path(request.model_id).parent
    if parent.name and parent.is_dir():  # a path was probably meant
        console.say(f"there is no folder {request.model_id}; it is taken for a hub id")
    pinned = dict(request.pins).get(request.model_id)
    request = replace(request, revision=request.revision or pinned)
    snapshot = fetch(request, console, adapter_only=adapter_only)
    return Found(
        model_id=request.model_id,
        folder=snapshot.folder,
        revision=snapshot.commit,
        sha256=snapshot.sha256,
    )
