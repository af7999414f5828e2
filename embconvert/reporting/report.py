"""`embconvert report`: writes the pages of a published folder again."""

import contextlib
from dataclasses import replace

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.folder.disk import output_errors
from embconvert.folder.published import published_manifest
from embconvert.folder.routes import published_routes
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, PAGES, REPORT_FILE, TRY_FILE
from embconvert.manifest.codec import as_text
from embconvert.regular_files import open_regular, replace_file
from embconvert.reporting.pages import has_try_page, users_pages, write_pages
from embconvert.reporting.routes_card import write_routes_card
from embconvert.reporting.try_page import can_try
from embconvert.request.records import Finished, ReportRequest


def report(request: ReportRequest) -> Finished:
    """Writes the report and the model card of a folder from its manifest.

    A model card that the user changed is kept; the report is always replaced.

    Raises:
        UsageError: embconvert did not publish the folder, or no browser can load its graphs.
        SourceError: The manifest is broken, or a page is not a regular file.
        OutputError: The folder cannot be written.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    routes = published_routes(request.folder)
    if routes:
        made = [report(replace(request, folder=request.folder / name)) for name in routes]
        with output_errors(request.folder, "make a copy of the folder"):
            if not write_routes_card(routes, request.folder):
                console.say(f"{request.folder / CARD_FILE} was changed by you and is kept")
        return Finished(text="\n".join(one.text for one in made))
    manifest = published_manifest(request.folder)
    for page in PAGES:
        with contextlib.suppress(FileNotFoundError):
            open_regular(request.folder, page, hint="remove it and run the command again").close()
    keep = users_pages(request.folder, manifest) - {REPORT_FILE}
    for file in sorted(keep):
        console.say(f"{request.folder / file} was changed by you and is kept")
    if request.try_page and not can_try(manifest, request.folder):
        raise UsageError(
            f"{request.folder} has no embedding model's graph that browsers can load",
            "convert it with --layout transformersjs, or omit --try_page",
        )
    with output_errors(request.folder, "make a copy of the folder"):
        manifest = write_pages(
            manifest,
            request.folder,
            target=request.folder,
            keep=keep,
            with_try=request.try_page or has_try_page(manifest),
        )
        replace_file(request.folder / MANIFEST_FILE, as_text(manifest).encode())
    if request.try_page:
        console.say(f"to try the model in a browser: {request.folder / TRY_FILE}")
    return Finished(text=str(request.folder / REPORT_FILE))
