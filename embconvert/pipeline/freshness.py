"""Checks whether a published folder is up to date for a request, without converting.

It is if it was made from the same source with the same options, libraries and version of
embconvert, its graphs reach the current floors, and its files have the right sizes. Contents are
not read.
"""

import functools
from dataclasses import replace
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.fidelity.texts import calibration_texts
from embconvert.folder.published import is_whole, read_manifest
from embconvert.folder.routes import missing_routes, mixture, published_routes
from embconvert.manifest import Manifest
from embconvert.models.kinds import KINDS, TASKS, Kind, with_heads
from embconvert.models.reranker_templates import template_name_of
from embconvert.plan.plan import make_steps
from embconvert.plan.requested_steps import float32_only, pooled_only
from embconvert.plan.reuse import is_done, reusable
from embconvert.plan.search import make_search
from embconvert.request.records import Request
from embconvert.source.adapters.files import adapter_place
from embconvert.source.contract import fitted
from embconvert.source.folder import WHOLE_MODEL_FILES, resolve_folder
from embconvert.source.settings.routes import SeveralRoutes


def current_manifests(request: Request, folder: Path, source: str | Path) -> tuple[Manifest, ...]:
    """Returns the manifests of all routes in a folder that is up to date; of other models the one.

    The arguments are those of current_manifest().

    Returns:
        () when there is work to do.

    Raises:
        EmbconvertError: The local source is damaged.
    """
    routes = published_routes(folder) if request.route is None else {}
    if not routes:
        try:
            manifest = current_manifest(request, folder, source)
        except SeveralRoutes:  # the source had none before
            return ()
        return () if manifest is None else (manifest,)
    if missing_routes(routes) or mixture(routes):
        return ()
    try:
        found = [
            current_manifest(replace(request, route=name), folder / name, source) for name in routes
        ]
    except UsageError:  # the source has other routes now
        return ()
    current = tuple(manifest for manifest in found if manifest is not None)
    return current if len(current) == len(routes) else ()


def current_manifest(request: Request, folder: Path, source: str | Path) -> Manifest | None:
    """Returns the manifest of a folder that is up to date, None when there is work to do.

    Args:
        request: The conversion; its command makes an export.
        source: Commit on the hub, or the local source folder, whose files are hashed.

    Raises:
        EmbconvertError: The local source is damaged.
    """
    try:
        manifest = read_manifest(folder)
        if manifest is not None:
            request = fitted(pooled_only(request, manifest.source.modules), manifest.kind)
            request = _with_template(request, manifest)
    except (ValueError, UsageError):  # the conversion says what is wrong
        return None
    if manifest is None or manifest.layout != request.layout:
        return None
    usual = _usual_kind(request, manifest)
    if (usual if request.task is None else TASKS[request.task]) is not manifest.kind:
        return None
    if not _same_source(request, manifest, source):
        return None
    if not _is_made(request, manifest):
        return None
    return manifest if is_whole(folder, manifest, contents=False) else None


def _usual_kind(request: Request, manifest: Manifest) -> Kind | None:
    """Returns the kind that a conversion without --task would make; None if that is not known."""
    files = {file.path for file in manifest.source.files}
    if files.isdisjoint(WHOLE_MODEL_FILES):
        if not KINDS[manifest.kind].is_ending_enough:
            return None  # --task made it of this kind
        if manifest.kind is Kind.EMBEDDING and _template(manifest) is not None:
            return None  # --task did not make it a reranker
    return with_heads(manifest.kind, files, request.layout)


def _with_template(request: Request, manifest: Manifest) -> Request:
    """Names the template that a conversion would choose by the model's name."""
    name = _template(manifest)
    if request.reranker_template is not None or manifest.source.model.template_name != name:
        return request
    return replace(request, reranker_template=name)


def _template(manifest: Manifest) -> str | None:
    return template_name_of(manifest.source.model_id, manifest.source.model_type)


def _is_made(request: Request, manifest: Manifest) -> bool:
    """Whether nothing remains to be made or verified; also False for a request that is refused."""
    request = float32_only(request, manifest.source.modules)
    digest = _calibration_digest(request.calibration_dataset)
    try:
        steps = make_steps(request, digest, kind=manifest.kind)
        search = make_search(request, digest, kind=manifest.kind)
    except UsageError:  # the conversion says what is wrong
        return False
    candidates = search.candidates if search else ()
    digests: dict[str | None, str] = {None: manifest.source.digest}
    found = reusable([*steps, *candidates], manifest.artifacts, digests)
    return is_done(steps, search, found, request)


def _same_source(request: Request, manifest: Manifest, source: str | Path) -> bool:
    trusted = request.trust_remote_code
    # Their commits would have to be asked for as well; a conversion does that, and reuses files.
    if request.adapter or manifest.source.adapters:
        return False
    if not isinstance(source, str) and adapter_place(source) is not None:
        return False
    if manifest.source.trust_remote_code != trusted:
        return False  # other files of the source are used
    if isinstance(source, str):
        return manifest.source.revision == source
    if manifest.source.revision is not None:
        return False
    resolved = resolve_folder(
        source, model_id=request.model_id, route=request.route, trust_remote_code=trusted
    )
    return manifest.source.digest == resolved.digest


@functools.cache
def _calibration_digest(dataset: Path | None) -> str:
    return calibration_texts(dataset).digest
