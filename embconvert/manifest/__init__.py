"""The manifest of an output folder: its records, their JSON, their JSON Schema.

No module here reads or writes files. pydantic, which encodes, decodes and validates, is loaded with
the first manifest, not with the records.
"""

from embconvert.manifest.artifacts import ArtifactRecord
from embconvert.manifest.kinds import ModelRecord
from embconvert.manifest.records import (
    CARD_FILE,
    MANIFEST_FILE,
    PAGES,
    REPORT_FILE,
    SCHEMA_VERSION,
    TRY_FILE,
    MachineRecord,
    Manifest,
    PromptShare,
    RecommendedRecord,
    SearchRecord,
    ToolRecord,
    TriedRecord,
    VerificationRecord,
)
from embconvert.manifest.sources import OverridesRecord, SourceRecord

__all__ = [
    "CARD_FILE",
    "MANIFEST_FILE",
    "PAGES",
    "REPORT_FILE",
    "SCHEMA_VERSION",
    "TRY_FILE",
    "ArtifactRecord",
    "MachineRecord",
    "Manifest",
    "ModelRecord",
    "OverridesRecord",
    "PromptShare",
    "RecommendedRecord",
    "SearchRecord",
    "SourceRecord",
    "ToolRecord",
    "TriedRecord",
    "VerificationRecord",
]
