"""Making a published folder's pages again: `embconvert report`."""

import contextlib

from embconvert.console import Console
from embconvert.folder.disk import output_errors
from embconvert.folder.published import published_manifest
from embconvert.manifest import MANIFEST_FILE, PAGES, REPORT_FILE
from embconvert.manifest.codec import as_text
from embconvert.regular_files import open_regular, replace_file
from embconvert.reporting.pages import users_pages, write_pages
from embconvert.request.records import Finished, ReportRequest


def report(request: ReportRequest) -> Finished:
    """Makes the report and the model card of a folder again, from its manifest.

    A model card that somebody has changed stays as it is; the report is always made.

    Raises:
        UsageError: No conversion published the folder.
        SourceError: Its manifest is broken, or one of its pages is no regular file.
        OutputError: The folder cannot be written.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    manifest = published_manifest(request.folder)
    for page in PAGES:
        with contextlib.suppress(FileNotFoundError):
            open_regular(request.folder, page, hint="remove it and run it again").close()
    keep = users_pages(request.folder, manifest) - {REPORT_FILE}
    for file in sorted(keep):
        console.say(f"{request.folder / file} is yours and stays as it is")
    name = request.folder.resolve().name
    with output_errors(request.folder, "make a copy of the folder"):
        manifest = write_pages(manifest, request.folder, name=name, keep=keep)
        replace_file(request.folder / MANIFEST_FILE, as_text(manifest).encode())
    return Finished(text=str(request.folder / REPORT_FILE))
