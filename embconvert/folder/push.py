"""Uploading a published folder to a hub, when it is what its manifest says: `embconvert push`."""

from pathlib import Path

from embconvert.console import Console
from embconvert.errors import FidelityError, SourceError
from embconvert.folder.published import published_manifest
from embconvert.foreign_text import one_line
from embconvert.graph.streams import hash_file
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, Manifest
from embconvert.requests import Finished, PushRequest


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
    files = checked_files(request.folder, manifest, console)
    if request.dry_run:
        return Finished(text="\n".join(map(one_line, [f"to {request.repo_id}:", *files])))
    from embconvert.hub.push import Destination, upload

    destination = Destination(
        repo_id=request.repo_id,
        private=request.private,
        revision=request.revision,
        create_pr=request.create_pr,
    )
    message = request.message or one_line(f"Converted by embconvert {manifest.tool_version}", 100)
    return Finished(text=one_line(upload(request.folder, files, destination, message, console)))


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


def checked_files(folder: Path, manifest: Manifest, console: Console) -> list[str]:
    """Returns the files to upload, each compared with the manifest's hash.

    The model card may be the user's own; all else is what the conversion left.

    Args:
        folder: The folder.
        manifest: Its manifest.
        console: Shows how far it is: hashing large files takes a while.

    Raises:
        SourceError: One is missing or changed.
    """
    records = manifest.records()
    total = round(sum(record.size_bytes for record in records) / 1e6)
    with console.progress(f"checking {folder} (MB)", total) as advance:
        for record in records:
            path = folder / record.path
            if record.path == CARD_FILE:
                continue
            if not path.is_file() or path.is_symlink():
                raise SourceError(f"{path} is missing", "convert the model again")
            if hash_file(path) != record.sha256:
                hint = "convert the model again"
                if record.path in {page.path for page in manifest.pages}:
                    hint = f"run: embconvert report {folder}"
                raise SourceError(f"{path} is not what the manifest says", hint)
            advance(round(record.size_bytes / 1e6))
    files = {record.path for record in records} | {MANIFEST_FILE}
    if (folder / CARD_FILE).is_file():
        return sorted(files | {CARD_FILE})
    return sorted(files - {CARD_FILE})
