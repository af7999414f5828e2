"""`embconvert push`: uploads a published folder to a hub, after comparing it with its manifest."""

import contextlib
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from io import BufferedIOBase, BufferedReader, BytesIO
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.folder.published import difference, parse_manifest_stream, published_manifest
from embconvert.foreign_text import https_address, one_line
from embconvert.hub.push import Destination, FilesFor, upload
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, PAGES, TRY_FILE, Manifest
from embconvert.manifest.codec import as_text
from embconvert.models.source_records import FileRecord
from embconvert.pipeline.route_folders import for_each_route, joined, routes_to_check
from embconvert.regular_files import open_regular
from embconvert.reporting.home import Home
from embconvert.reporting.pages import make_pages
from embconvert.request.records import Finished, PushRequest

Upload = Callable[[FilesFor, Destination, str, Console], str]

_AGAIN = "convert the model again"


def push(request: PushRequest, upload: Upload = upload) -> Finished:
    """Uploads a folder.

    Raises:
        UsageError: The folder is not published by embconvert, or there is no token.
        FidelityError: One of its graphs was not verified.
        SourceError: One of its files is missing, or differs from the manifest.
        OutputError: The hub refuses the upload.
        NetworkError: The hub cannot be reached or fails.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    routes = routes_to_check(request.folder, console)
    if routes:
        return _push_routes(request, routes, upload)
    manifest = published_manifest(request.folder)
    refuse_unverified(request.folder, manifest)
    with contextlib.ExitStack() as stack:
        files = checked_files(request.folder, manifest, console, stack)
        if request.dry_run:
            return Finished(text="\n".join(map(one_line, [f"to {request.repo_id}:", *files])))

        def files_for(repo_id: str, address: str) -> dict[str, BufferedIOBase]:
            home = Home(
                name=repo_id, on_hub=True, revision=request.revision, address=https_address(address)
            )
            return files | _pages_for(home, request.folder, manifest, files)

        destination = Destination(
            repo_id=request.repo_id,
            private=request.private,
            revision=request.revision,
            create_pr=request.create_pr,
        )
        message = request.message or one_line(
            f"Converted by embconvert {manifest.tool.version}", 100
        )
        return Finished(text=one_line(upload(files_for, destination, message, console)))


def _push_routes(request: PushRequest, routes: tuple[str, ...], upload: Upload) -> Finished:
    """Uploads each route to a repository of its own, since programs load one model from one.

    All are checked before the first is uploaded.
    """

    def push_route(one: PushRequest, *, dry_run: bool) -> Finished:
        repo_id = f"{request.repo_id}-{one.folder.name}"
        return push(replace(one, repo_id=repo_id, dry_run=dry_run), upload)

    checked = for_each_route(request, routes, partial(push_route, dry_run=True))
    if request.dry_run:
        return joined(checked)
    return joined(for_each_route(request, routes, partial(push_route, dry_run=False)))


def refuse_unverified(folder: Path, manifest: Manifest) -> None:
    """Raises FidelityError without graphs, or for one that was not compared with its source."""
    unverified = [graph.path for graph in manifest.artifacts if graph.fidelity is None]
    if unverified:
        raise FidelityError(
            f"{folder} was not pushed: {', '.join(unverified)} not verified",
            "run: embconvert all with the same options, but without --skip_validation",
        )
    if not manifest.artifacts:
        raise FidelityError(f"{folder} was not pushed: it has no graph", "convert the model again")


def checked_files(
    folder: Path, manifest: Manifest, console: Console, stack: contextlib.ExitStack
) -> dict[str, BufferedIOBase]:
    """Returns the open files to upload by path, each compared with the manifest's hash.

    They stay open, so that exactly the compared content is uploaded, even if a file is replaced.
    Only the model card may differ from the manifest: users may edit it.

    Args:
        stack: Closes the files.

    Raises:
        SourceError: One is missing, changed, or not a regular file.
    """
    records = {record.path: record for record in manifest.records()}
    _allow_open_files(len(records) + 1)
    stream = stack.enter_context(_open(folder, MANIFEST_FILE))
    if parse_manifest_stream(stream) != manifest:
        raise SourceError(
            f"{folder / MANIFEST_FILE} was changed during this command", "run the command again"
        )
    stream.seek(0)
    found: dict[str, BufferedIOBase] = {MANIFEST_FILE: stream}
    with contextlib.suppress(FileNotFoundError):
        hint = f"remove it, then run: embconvert report {folder}; or replace it by a copy"
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
                raise SourceError(f"{folder / file} differs from the manifest", hint)
            advance(round(record.size_bytes / 1e6))
    return dict(sorted(found.items()))


def _pages_for(
    home: Home, folder: Path, manifest: Manifest, files: Mapping[str, BufferedIOBase]
) -> dict[str, BufferedIOBase]:
    """Returns the pages for readers at `home`, and the manifest with their hashes.

    A model card that was edited is not replaced.
    """
    ours = {
        page.path
        for page in manifest.pages
        if page.path in files and difference(files[page.path], page) is None
    }
    manifest, made = make_pages(
        manifest, folder, home=home, keep=frozenset(PAGES) - ours, with_try=TRY_FILE in ours
    )
    made[MANIFEST_FILE] = as_text(manifest).encode()
    return {file: BytesIO(content) for file, content in made.items()}


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
    """Refuses a model card that may be a hard link to a file outside of the folder.

    The content of other files is known by the manifest's hash, but a card may have any content.

    Raises:
        SourceError: The card has several names, and its content is not the manifest's.
    """
    ours = record is not None and difference(card, record) is None
    if os.fstat(card.fileno()).st_nlink > 1 and not ours:
        raise SourceError(
            f"{folder / CARD_FILE} is a hard link, maybe to a file outside of the folder", hint
        )
    card.seek(0)


def _allow_open_files(count: int) -> None:
    """Raises the limit of open files to what is needed, if possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
