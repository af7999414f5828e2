"""The source that a user names for a published folder (`--against`)."""

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import SourceError
from embconvert.manifest import Manifest, SourceRecord
from embconvert.manifest.requesting import request_from
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.request.places import local_folder
from embconvert.request.records import EvaluateRequest, Request, VerifyRequest
from embconvert.source.kind import settle_kind


def named_source(
    request: VerifyRequest | EvaluateRequest, manifest: Manifest, console: Console
) -> tuple[Request, ResolvedModel]:
    """Returns the request that loads the source as the conversion did, and the source.

    Raises as hub.resolve(), and SourceError for a model that is not the one that was converted.
    """
    conversion = _source_request(request, manifest)
    resolved = hub.resolve(conversion, console)
    _refuse_another_source(conversion.model_id, resolved, manifest.source)
    return conversion, settle_kind(conversion, resolved)


def _refuse_another_source(against: str, resolved: ResolvedModel, source: SourceRecord) -> None:
    difference = source.difference(resolved.files, resolved.adapters)
    if difference is None:
        return
    given = source.given
    name, revision = source.model_id, source.revision
    if given is not None:
        name, revision = given.adapter, given.revision
    at = f" at {revision[:12]}" if revision else ""
    others = ",".join(a.adapter for a in source.adapters if not a.is_model)
    with_adapters = f" and --adapter {others}" if others else ""
    raise SourceError(
        f"{against} is not the source that this folder was made of: {difference}",
        f"give {name}{at}{with_adapters}, as it was then; or convert {against} itself",
    )


def _source_request(request: VerifyRequest | EvaluateRequest, manifest: Manifest) -> Request:
    assert request.against is not None
    asked = Request(
        command=Command.EXPORT,
        model_id=request.against,
        adapter=request.adapter,
        trust_remote_code=request.trust_remote_code,
        cache_dir=request.cache_dir,
        offline=request.offline,
        quiet=request.quiet,
        debug=request.debug,
    )
    is_local = local_folder(request.against, option="against") is not None
    return request_from(manifest, asked, is_local=is_local)
