"""From a manifest back to the request that made its export."""

from dataclasses import replace

from embconvert.manifest.records import Manifest
from embconvert.models.kinds import KINDS
from embconvert.request.records import Request


def request_from(manifest: Manifest, request: Request, *, is_local: bool) -> Request:
    """Returns a request for the source as the export was made of it.

    Args:
        manifest: Of the folder with the export.
        request: Says all else, the source among it.
        is_local: Whether the source is a folder, which has no revisions.
    """
    source = manifest.source
    return replace(
        request,
        revision=None if is_local else source.revision,
        task=KINDS[manifest.kind].task,
        layout=manifest.layout,
        output=source.output,
        pooling=source.overrides.pooling,
        normalize=source.overrides.normalize,
        dimensions=source.overrides.dimensions,
        # That they may be cut was settled then.
        force_dimensions=source.overrides.dimensions is not None,
    )
