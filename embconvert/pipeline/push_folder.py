"""Uploading a published folder to a hub, when it is what its manifest says: `embconvert push`."""

import contextlib
import os
import resource
from io import BufferedReader
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.folder.published import difference, parse_manifest_stream, published_manifest
from embconvert.foreign_text import one_line
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, Manifest
from embconvert.models.values import FileRecord
from embconvert.regular_files import open_regular
from embconvert.request.records import Finished, PushRequest

_AGAIN = "convert the model again"


def push(request: PushRequest) -> Finished:
    """Uploads a folder.

    Raises:
        UsageError: No conversion published the folder, or there is no token.
        FidelityError: A graph of it was not verified.
        SourceError: A file of it is missing, or is not what the manifest says.
        OutputError: The hub refuses.
        NetworkError: The hub cannot be reached or fails.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    manifest = published_manifest(request.folder)
    refuse_unverified(request.folder, manifest)
    with contextlib.ExitStack() as stack:
        files = checked_files(request.folder, manifest, console, stack)
        if request.dry_run:
            return Finished(text="\n".join(map(one_line, [f"to {request.repo_id}:", *files])))
        from embconvert.hub.push import Destination, upload

        destination = Destination(
            repo_id=request.repo_id,
            private=request.private,
            revision=request.revision,
            create_pr=request.create_pr,
        )
        message = request.message or one_line(
            f"Converted by embconvert {manifest.tool.version}", 100
        )
        return Finished(text=one_line(upload(files, destination, message, console)))


def refuse_unverified(folder: Path, manifest: Manifest) -> None:
    """Refuses a folder with graphs that were not compared with their source.

    Raises:
        FidelityError: It has some, or none at all.
    """
    unverified = [graph.path for graph in manifest.artifacts if graph.fidelity is None]
    if unverified:
        raise FidelityError(
            f"{folder} is not pushed: {', '.join(unverified)} not verified",
            "run: embconvert all with the same options, but without --skip_validation",
        )
    if not manifest.artifacts:
        raise FidelityError(f"{folder} is not pushed: it has no graph", "convert the model again")


def checked_files(
    folder: Path, manifest: Manifest, console: Console, stack: contextlib.ExitStack
) -> dict[str, BufferedReader]:
    """Returns the files to upload by their paths, each compared with the manifest's hash.

    They stay open, so that what is uploaded is what was compared, whatever has the name by then.
    The model card may be the user's own; all else is what the conversion left.

    Args:
        folder: The folder.
        manifest: Its manifest.
        console: Shows how far it is: hashing large files takes a while.
        stack: Closes the files.

    Raises:
        SourceError: One is missing or changed, or is no regular file.
    """
    records = {record.path: record for record in manifest.records()}
    _allow_open_files(len(records) + 1)
    found = {MANIFEST_FILE: stack.enter_context(_open(folder, MANIFEST_FILE))}
    if parse_manifest_stream(found[MANIFEST_FILE]) != manifest:
        raise SourceError(f"{folder / MANIFEST_FILE} was changed meanwhile", "run it again")
    found[MANIFEST_FILE].seek(0)
    with contextlib.suppress(FileNotFoundError):
        hint = f"remove it, then run: embconvert report {folder}; or put a copy of it there"
        card = stack.enter_context(open_regular(folder, CARD_FILE, hint=hint))
        _refuse_another_name(card, folder, records.get(CARD_FILE), hint)
        found[CARD_FILE] = card
    total = round(sum(record.size_bytes for record in records.values()) / 1e6)
    with console.progress(f"checking {folder} (MB)", total) as advance:
        for file, record in records.items():
            if file == CARD_FILE:
                continue
            is_page = file in {page.path for page in manifest.pages}
            hint = f"run: embconvert report {folder}" if is_page else _AGAIN
            found[file] = stack.enter_context(_open(folder, file))
            if difference(found[file], record) is not None:
                raise SourceError(f"{folder / file} is not what the manifest says", hint)
            advance(round(record.size_bytes / 1e6))
    return dict(sorted(found.items()))


def _open(folder: Path, file: str) -> BufferedReader:
    try:
        return open_regular(folder, file)
    except FileNotFoundError as error:
        raise SourceError(f"{folder / file} is missing", _AGAIN) from error
    except OSError as error:
        raise SourceError(
            f"{folder / file} cannot be read: {error.strerror}", "check its permissions"
        ) from error


def _refuse_another_name(
    card: BufferedReader, folder: Path, record: FileRecord | None, hint: str
) -> None:
    """Refuses a model card that may be a file from elsewhere.

    A hard link cannot be told from the file. Of other files the manifest's hash vouches for the
    content; a card may have any.

    Raises:
        SourceError: The card is another file's second name.
    """
    ours = record is not None and difference(card, record) is None
    if os.fstat(card.fileno()).st_nlink > 1 and not ours:
        raise SourceError(
            f"{folder / CARD_FILE} has another name, maybe outside of the folder (a hard link)",
            hint,
        )
    card.seek(0)


def _allow_open_files(count: int) -> None:
    """Raises the limit of open files where so many are needed and it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
