"""The outcome of each model, as a table and as versioned JSON (`data/batch.schema.json`)."""

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
from embconvert.tables import Column

SCHEMA_VERSION = 1

#: Exit codes of failures, the worst first: a bug; then errors of the machine or the model, later
#: stages first; last network errors, after which a retry may succeed.
WORST_FIRST = (
    1,
    *(c.exit_code for c in (
        errors.OutputError, errors.FidelityError, errors.DeriveError, errors.QuantizeError,
        errors.OptimizeError, errors.ExportError, errors.UnsupportedModelError, errors.SourceError,
        errors.UsageError,
    )),
    errors.NetworkError.exit_code,
)  # fmt: skip

TABLE_HEADER = (
    Column(title="model"),
    Column(title="outcome", is_word=True),
    Column(title="time", rank=2),
    Column(title="graphs", rank=3),
    Column(title="size", rank=1),
    Column(title="lowest mean cosine"),
)


class Status(StrEnum):
    CONVERTED = "converted"
    UP_TO_DATE = "up to date"
    FAILED = "failed"
    TO_DO = "to do"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one model.

    Attributes:
        exit_code: Exit code that the single command would have; None for a model that is to do.
        duration_s: Time of the conversion, without the check whether it is up to date.
        manifests: Of the folder, or of each of its routes.
    """

    entry: Entry
    status: Status
    exit_code: int | None = 0
    error: str | None = None
    hint: str | None = None
    duration_s: float = 0.0
    manifests: tuple[Manifest, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns the outcome as plain JSON values."""
        revision = self.manifests[0].source.revision if self.manifests else None
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
                    "path": _place(manifest) + record.path,
                    "precision": str(record.precision),
                    "size_bytes": record.total_size_bytes,
                    f"mean_{manifest.measure}": (
                        record.fidelity.similarity.mean if record.fidelity else None
                    ),
                }
                for manifest in self.manifests
                for record in manifest.artifacts
            ],
        }

    def row(self) -> tuple[str, ...]:
        """Returns the row of the table."""
        spent = f"{self.duration_s:.0f} s" if self.duration_s else "-"
        name = f"{self.status} ({self.exit_code})" if self.exit_code else str(self.status)
        if not self.manifests:
            return (self.entry.model_id, name, spent, "-", "-", "-")
        graphs = [record for manifest in self.manifests for record in manifest.artifacts]
        size = sum(record.total_size_bytes for record in graphs) / 1e6
        cosines = [record.fidelity.lowest_mean for record in graphs if record.fidelity]
        lowest = f"{min(cosines):.5f}" if cosines else "not verified"
        measure = self.manifests[0].measure
        if cosines and measure is not Measure.COSINE:
            lowest += f" ({measure})"
        return (self.entry.model_id, name, spent, str(len(graphs)), f"{size:.1f} MB", lowest)


def _place(manifest: Manifest) -> str:
    """Returns where a manifest's files are in the model's folder."""
    return "" if manifest.source.route is None else f"{manifest.source.route.name}/"


def worst_code(outcomes: Iterable[Outcome]) -> int:
    """Returns the exit code of the worst failure, 0 when there is none."""
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in WORST_FIRST if code in codes), 0)


def counted(outcomes: Iterable[Outcome]) -> str:
    """Returns the number of models per status, in words."""
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def summary_as_json(
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
