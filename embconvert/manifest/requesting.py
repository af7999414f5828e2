"""The request that made a folder's export."""

from dataclasses import replace

from embconvert.manifest.records import Manifest
from embconvert.manifest.sources import SourceRecord
from embconvert.models.adapters import AdapterChoice
from embconvert.models.kinds import KINDS
from embconvert.request.records import Request


def request_from(manifest: Manifest, request: Request, *, is_local: bool) -> Request:
    """Returns `request` with the options of the export in a manifest's folder.

    Args:
        is_local: Whether the source is a local folder, which has no revisions.
    """
    source = manifest.source
    code = source.model.code
    return replace(
        request,
        # Another model has other revisions.
        revision=None if is_local or request.model_id != source.model_id else source.revision,
        task=KINDS[manifest.kind].task,
        route=None if source.route is None else source.route.name,
        reranker_template=source.model.template_name,
        adapter=request.adapter or _adapters(source),
        pins=_commits(source),
        layout=manifest.layout,
        output=source.output,
        pooling=source.overrides.pooling,
        normalize=source.overrides.normalize,
        dimensions=source.overrides.dimensions,
        output_precision=source.overrides.output_precision,
        output_ranges=(code.lows, code.highs) if code is not None and code.lows else None,
        # The conversion checked that they may be truncated.
        force_dimensions=source.overrides.dimensions is not None,
    )


def _adapters(source: SourceRecord) -> tuple[AdapterChoice, ...]:
    """Returns the value of `--adapter`; one given as `--model_id` is no part of it."""
    return tuple(record.choice for record in source.adapters if not record.is_model)


def _commits(source: SourceRecord) -> tuple[tuple[str, str], ...]:
    """Returns the commits of the hub models that were used, if an adapter names its base model."""
    given = [record for record in source.adapters if record.is_model]
    found = [(record.adapter, record.revision) for record in given]
    found += [(source.model_id, source.revision)] if given else []
    return tuple((name, commit) for name, commit in found if commit is not None)
