"""What an output folder holds and how it came to be: the records, their file, its JSON Schema.

No module here reads or writes a file. The library that encodes, decodes and validates (pydantic) is
loaded at the first manifest, not with these records.
"""

from embconvert.manifest.kinds import (
    EmbeddingRecord,
    LateInteractionRecord,
    ModelRecord,
    RerankerRecord,
    SparseRecord,
)
from embconvert.manifest.records import (
    CARD_FILE,
    MANIFEST_FILE,
    PAGES,
    REPORT_FILE,
    SCHEMA_VERSION,
    ArtifactRecord,
    MachineRecord,
    Manifest,
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
    "ArtifactRecord",
    "EmbeddingRecord",
    "LateInteractionRecord",
    "MachineRecord",
    "Manifest",
    "ModelRecord",
    "OverridesRecord",
    "RerankerRecord",
    "SearchRecord",
    "SourceRecord",
    "SparseRecord",
    "ToolRecord",
    "TriedRecord",
    "VerificationRecord",
]
