"""What came of each model, as a table and as versioned JSON (`data/batch.schema.json`)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from embconvert import __version__, errors
from embconvert.fleet.entries import Entry
from embconvert.manifest import Manifest
from embconvert.models.kinds import Measure
from embconvert.request.records import Shard

SCHEMA_VERSION = 1

#: The exit codes of failures, the worst first: a bug; then what is wrong with this machine or the
#: model, the later in a conversion the worse; last what may pass by itself.
WORST_FIRST = (
    1,
    *sorted((c.exit_code for c in (
        errors.OutputError, errors.FidelityError, errors.QuantizeError, errors.OptimizeError,
        errors.ExportError, errors.UnsupportedModelError, errors.SourceError, errors.UsageError,
    )), reverse=True),
    errors.NetworkError.exit_code,
)  # fmt: skip

TABLE_HEADER = ("model", "outcome", "time", "graphs", "size", "lowest mean cosine")


class Status(StrEnum):
    """What came of a model."""

    CONVERTED = "converted"
    UP_TO_DATE = "up to date"
    FAILED = "failed"
    TO_DO = "to do"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one model.

    Attributes:
        entry: The model.
        status: In a word.
        exit_code: What the single command would have ended with; None when it is not done.
        error: What went wrong.
        hint: What to do about it.
        duration_s: Spent on it, not counting the question whether it is up to date.
        manifest: Of its folder, when that is complete.
    """

    entry: Entry
    status: Status
    exit_code: int | None = 0
    error: str | None = None
    hint: str | None = None
    duration_s: float = 0.0
    manifest: Manifest | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain JSON values."""
        revision = self.manifest.source.revision if self.manifest else None
        return {
            "model_id": self.entry.model_id,
            "line": self.entry.line,
            "folder": str(self.entry.folder),
            "status": self.status.replace(" ", "_"),
            "exit_code": self.exit_code,
            "error": self.error,
            "hint": self.hint,
            "duration_s": round(self.duration_s, 3),
            "revision": revision,
            "graphs": [
                {
                    "path": record.path,
                    "precision": str(record.precision),
                    "size_bytes": record.total_size_bytes,
                    f"mean_{self.manifest.measure}": (
                        record.fidelity.similarity.mean if record.fidelity else None
                    ),
                }
                for record in self.manifest.artifacts
            ]
            if self.manifest
            else [],
        }

    def row(self) -> tuple[str, ...]:
        """Returns its row of the closing table."""
        spent = f"{self.duration_s:.0f} s" if self.duration_s else "-"
        name = f"{self.status} ({self.exit_code})" if self.exit_code else str(self.status)
        if self.manifest is None:
            return (self.entry.model_id, name, spent, "-", "-", "-")
        graphs = self.manifest.artifacts
        size = sum(record.total_size_bytes for record in graphs) / 1e6
        cosines = [record.fidelity.similarity.mean for record in graphs if record.fidelity]
        lowest = f"{min(cosines):.5f}" if cosines else "not verified"
        if cosines and self.manifest.measure is not Measure.COSINE:
            lowest += f" ({self.manifest.measure})"
        return (self.entry.model_id, name, spent, str(len(graphs)), f"{size:.1f} MB", lowest)


def worst_code(outcomes: Iterable[Outcome]) -> int:
    """Returns 0 when all passed, else the code of the worst failure."""
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in WORST_FIRST if code in codes), 0)


def counted(outcomes: Iterable[Outcome]) -> str:
    """Returns how many models came to what, in words."""
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def as_json(
    outcomes: Sequence[Outcome], *, file: str, shard: Shard | None, duration_s: float
) -> dict[str, Any]:
    """Returns the summary as plain JSON values."""
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "embconvert", "version": __version__},
        "list": file,
        "shard": str(shard) if shard else None,
        "exit_code": worst_code(outcomes),
        "duration_s": round(duration_s, 3),
        "counts": {status.replace(" ", "_"): counts[status] for status in Status},
        "models": [outcome.as_json() for outcome in outcomes],
    }
