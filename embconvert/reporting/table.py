"""The table that a conversion ends with, and what was fused, in words."""

from collections.abc import Sequence

from embconvert.manifest import ArtifactRecord
from embconvert.models.kinds import Measure
from embconvert.models.values import Fusion


def table_header(measure: Measure) -> tuple[str, ...]:
    """Returns the titles of the closing table."""
    unit = "texts/s" if measure is Measure.COSINE else "pairs/s"
    return (
        "file", "size", "vs fp32", f"mean {measure}", f"min {measure}", "rank corr.",
        f"batch {measure}", unit, "speed",
    )  # fmt: skip


def table_rows(artifacts: Sequence[ArtifactRecord]) -> list[list[str]]:
    """Returns the rows of the closing table, one for each graph.

    Sizes and speeds are compared with the exported graph, when there is one.
    """
    base = next((a for a in artifacts if a.made_from is None), None)
    rows = []
    for artifact in artifacts:
        size = artifact.total_size_bytes
        row = [artifact.path, f"{size / 1e6:.1f} MB"]
        row.append(f"{100 * size / base.total_size_bytes:.0f}%" if base else "-")
        figures = artifact.fidelity
        if figures is None:
            rows.append([*row, "not verified", "-", "-", "-", "-", "-"])
            continue
        row += [f"{figures.similarity.mean:.5f}", f"{figures.similarity.min:.5f}"]
        row += [f"{figures.rank_correlation:.5f}", f"{figures.similarity.batch:.5f}"]
        row.append(f"{figures.texts_per_second:.0f}")
        if base and base.fidelity:
            row.append(f"{figures.texts_per_second / base.fidelity.texts_per_second:.2f}x")
        else:
            row.append("-")
        rows.append(row)
    return rows


def fused_words(fusions: Sequence[Fusion]) -> str:
    """Returns what was fused in words, as `6 of 6 attention, 12 GELU`; empty for nothing."""
    return ", ".join(f"{f.fused} of {f.found} {f.kind}" for f in fusions)
