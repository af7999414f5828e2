"""What the manifest says of the source."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen, MinLen

from embconvert.manifest.kinds import (
    EmbeddingRecord,
    LateInteractionRecord,
    ModelRecord,
    RerankerRecord,
    SparseRecord,
)
from embconvert.models.choices import Output, PoolingMode
from embconvert.models.constraints import Commit, Count, Name, Positive, Record, Sha256, Text
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.values import FileRecord, SourceCard

Files = Annotated[tuple[FileRecord, ...], MaxLen(10_000)]


@dataclass(frozen=True, kw_only=True)
class OverridesRecord(Record):
    """What the user changed of the model; config.Overrides, which `--help` loads, has no bounds.

    Attributes:
        pooling: --pooling.
        normalize: --normalize.
        dimensions: --dimensions.
    """

    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class SourceRecord(Record):
    """The source, and what was made of it.

    Attributes:
        model_id: A hub id or a local folder, as given.
        revision: The hub's commit; None for a local folder.
        digest: Over the names and contents of all source files.
        model_type: As its config.json says.
        hidden_size: Likewise; None when it does not say.
        num_heads: Likewise.
        max_seq_length: Tokens after which a text is cut; None when none is.
        modules: Classes of the sentence-transformers modules.
        model: What is special to its kind.
        overrides: What the user changed of the model.
        output: What the graphs give: --output.
        trust_remote_code: Whether Python code that comes with the source was run.
        card: What its model card says.
        files: All that count.
    """

    model_id: Text
    revision: Commit | None
    digest: Sha256
    model_type: Name
    hidden_size: Count | None
    num_heads: Count | None
    max_seq_length: Positive | None
    modules: Annotated[tuple[Name, ...], MaxLen(100)]
    model: ModelRecord
    overrides: OverridesRecord
    output: Output
    trust_remote_code: bool
    card: SourceCard
    files: Annotated[Files, MinLen(1)]

    @property
    def pooling(self) -> tuple[str, ...]:
        """How the vectors of tokens become one; empty where they don't."""
        is_pooled = isinstance(self.model, EmbeddingRecord | SparseRecord)
        return self.model.pooling if is_pooled else ()  # type: ignore[union-attr]

    @property
    def dimension(self) -> int | None:
        """Length of a vector; None when there is none, or it is not known."""
        return None if isinstance(self.model, RerankerRecord) else self.model.dimension

    @property
    def late_interaction(self) -> LateInteraction | None:
        """How queries and documents are read; None for models of other kinds."""
        is_late = isinstance(self.model, LateInteractionRecord)
        return self.model.late_interaction if is_late else None  # type: ignore[union-attr]
