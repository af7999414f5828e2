"""Builds the manifest from the results of a run."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from embconvert import __version__
from embconvert.manifest.artifacts import ArtifactRecord
from embconvert.manifest.kinds import NOT_LOADED, ModelRecord
from embconvert.manifest.recommended import recommended
from embconvert.manifest.records import (
    MachineRecord,
    Manifest,
    SearchRecord,
    ToolRecord,
    VerificationRecord,
)
from embconvert.manifest.sources import OverridesRecord, SourceRecord
from embconvert.models.corrections import Correction
from embconvert.models.pair_template import InputRules
from embconvert.models.prompts import NO_PROMPTS, Prompts
from embconvert.models.source_records import FileRecord
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.speed.records import SpeedsRecord


@dataclass(frozen=True, kw_only=True)
class LoadedSource:
    """Properties that are known only when the source model is loaded.

    Attributes:
        rows: Number of token embeddings; None if there is no such table, or it is unknown.
        corrections: How its tokenizer's files differ from the published ones.
    """

    model: ModelRecord
    modules: tuple[str, ...]
    max_seq_length: int | None
    prompts: Prompts = NO_PROMPTS
    rows: int | None = None
    corrections: tuple[Correction, ...] = ()

    @property
    def input_rules(self) -> InputRules | None:
        """How inputs are read, if not as tokenizer.json alone says."""
        return self.model.input_rules

    @classmethod
    def of(cls, manifest: Manifest) -> "LoadedSource":
        """Returns what an earlier run recorded."""
        source = manifest.source
        return cls(
            model=source.model,
            modules=source.modules,
            max_seq_length=source.max_seq_length,
            prompts=source.prompts,
            corrections=source.corrections,
        )


def build_manifest(
    request: Request,
    resolved: ResolvedModel,
    *,
    artifacts: Iterable[ArtifactRecord],
    loaded: LoadedSource | None,
    verification: VerificationRecord,
    commands: tuple[str, ...],
    versions: Mapping[str, str],
    cpus: int,
    files: tuple[FileRecord, ...],
    search: SearchRecord | None,
    speeds: SpeedsRecord | None,
) -> Manifest:
    """Returns the manifest of a folder.

    Args:
        loaded: None if the source was not loaded.
        commands: Command lines that made the graphs.
        versions: Of the libraries that made them.
        cpus: That a run may use.
        files: The folder's other files, without pages.
        speeds: Of these graphs, or of some.
    """
    manifest = Manifest(
        tool=ToolRecord(version=__version__, commands=tuple(map(as_utf8, commands))),
        layout=request.layout,
        source=_source(request, resolved, loaded),
        stack={**versions, "python": platform.python_version()},
        machine=MachineRecord(platform=platform.platform(), processor=processor(), cpus=cpus),
        verification=verification,
        artifacts=tuple(sorted(artifacts, key=lambda record: (len(record.path), record.path))),
        files=files,
        search=search,
        speeds=speeds,
    )
    return replace(manifest, recommended=recommended(manifest))


def _source(request: Request, resolved: ResolvedModel, loaded: LoadedSource | None) -> SourceRecord:
    if loaded is not None and loaded.model.kind is not resolved.kind:
        loaded = None  # from an earlier run with another --task
    return SourceRecord(
        model_id=as_utf8(resolved.public_id),
        revision=resolved.revision,
        digest=resolved.digest,
        model_type=resolved.architecture.model_type,
        hidden_size=resolved.architecture.hidden_size,
        num_heads=resolved.architecture.num_heads,
        max_seq_length=loaded.max_seq_length if loaded else resolved.max_seq_length,
        modules=loaded.modules if loaded else (),
        left_out=resolved.left_out,
        corrections=loaded.corrections if loaded else (),
        prompts=loaded.prompts if loaded else NO_PROMPTS,
        model=loaded.model if loaded else NOT_LOADED[resolved.kind],
        route=resolved.routed.route if resolved.routed else None,
        adapters=tuple(
            replace(adapter.record, adapter=as_utf8(adapter.record.adapter))
            for adapter in resolved.adapters
        ),
        overrides=OverridesRecord(
            pooling=request.pooling,
            normalize=request.normalize,
            dimensions=request.dimensions,
            output_precision=request.output_precision,
        ),
        output=request.output,
        trust_remote_code=request.trust_remote_code,
        card=resolved.card,
        files=resolved.files,
    )


def as_utf8(text: str) -> str:
    """Returns text with `?` for characters that UTF-8 cannot encode, such as a path's raw bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def processor() -> str:
    """Returns the name of this machine's processor."""
    # platform.processor() is empty on most Linux systems.
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
