"""The table at the end of a conversion, and a summary of fusions."""

from collections.abc import Mapping, Sequence

from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.kinds import Measure
from embconvert.models.shapes import CONVERSION_LENGTHS
from embconvert.models.values import Fusion
from embconvert.speed.records import UNMEASURABLE, GraphSpeed
from embconvert.tables import Column

_LENGTHS = f"at {CONVERSION_LENGTHS} tokens"

#: What the table's columns mean; code stands in backticks.
COLUMN_WORDS: Mapping[str, str] = {
    "file": "The graph's path in the output folder.",
    "size": "With external data; 1 MB is 1,000,000 bytes.",
    "vs fp32": "The size relative to the exported float32 graph, `onnx/model.onnx`.",
    "mean cosine": (
        "Between a text's embedding by the source model and by this file, on average over the "
        "compared texts; 1 is equal. It is high even for files that search much worse."
    ),
    "mean agreement": (
        "Of rerankers, in place of the cosine: how near a pair's score stays to the source's, "
        "on the same scale; 1 is equal. `embconvert list` has both as mean similarity."
    ),
    "min cosine": "The lowest cosine of any text, that of the one that changed most.",
    "min agreement": "The lowest agreement of any pair, that of the one that changed most.",
    "top 10 kept": (
        "How many of a text's ten nearest neighbours among the compared texts stay among the "
        "ten. It tells best how much a search changes."
    ),
    "rank corr.": (
        "Spearman's rank correlation of all similarities (of rerankers: scores) before and "
        "after; 1 if their order stays."
    ),
    "batch cosine": (
        "The lowest cosine between a text's embedding alone and in any batch; below 1, it "
        "depends on the texts beside it."
    ),
    "batch agreement": "The lowest agreement between a pair's score alone and in any batch.",
    f"texts/s {_LENGTHS}": "One text at a time, on all CPUs of this machine.",
    f"pairs/s {_LENGTHS}": "One pair at a time, on all CPUs of this machine.",
    "speed": (
        "Relative to the exported graph; all files were timed in turns. If the spread after ± "
        f"reaches 1x, there is no difference; {UNMEASURABLE}."
    ),
}


def table_header(measure: Measure) -> tuple[Column, ...]:
    texts = measure is Measure.COSINE
    items = "texts" if texts else "pairs"
    return (
        Column(title="file"),
        Column(title="size"),
        Column(title="vs fp32", rank=1),
        Column(title=f"mean {measure}"),
        Column(title=f"min {measure}", rank=3),
        *[Column(title="top 10 kept", rank=2)] * texts,
        Column(title="rank corr.", rank=5),
        Column(title=f"batch {measure}", rank=6),
        Column(title=f"{items}/s {_LENGTHS}", rank=4),
        Column(title="speed"),
    )


def table_rows(manifest: Manifest) -> list[list[str]]:
    """Returns one row per graph, then one for each of its heads.

    Sizes and speeds are relative to the exported graph, if any.
    """
    columns = len(table_header(manifest.measure))
    base, speeds = manifest.exported, manifest.speeds
    rows = []
    for artifact in manifest.artifacts:
        size = artifact.total_size_bytes
        row = [artifact.path, size_cell(artifact)]
        row.append(f"{100 * size / base.total_size_bytes:.0f}%" if base else "-")
        figures = artifact.fidelity
        if figures is None:
            row.append("not verified")
            rows.append([*row, *["-"] * (columns - len(row))])
            continue
        row += _fidelity_cells(figures)
        speed = speeds.of(artifact.path) if speeds else None
        row += [speed.rates if speed else "-", speed_cell(artifact, speed)]
        rows.append(row)
        rows += [
            [f"  {kind} head", "", "", *_fidelity_cells(head), "", ""]
            for kind, head in figures.heads.items()
        ]
    return rows


def _fidelity_cells(figures: Fidelity) -> list[str]:
    near = figures.similarity
    cells = [f"{near.mean:.5f}", f"{near.min:.5f}"]
    if near.measure is Measure.COSINE:
        cells.append(kept_cell(figures))
    return [*cells, f"{figures.rank_correlation:.5f}", f"{near.batch:.5f}"]


def size_cell(artifact: ArtifactRecord) -> str:
    return f"{artifact.total_size_bytes / 1e6:.1f} MB"


def kept_cell(figures: Fidelity | None) -> str:
    return f"{figures.neighbours.kept:.1%}" if figures and figures.neighbours else "-"


def speed_cell(artifact: ArtifactRecord, speed: GraphSpeed | None) -> str:
    """Returns the speed relative to the exported graph, with its spread."""
    if speed is None:
        return "-"
    if speed.speedup is None:
        return "1x" if artifact.made_from is None else "-"
    return str(speed.speedup)


def recommended_words(manifest: Manifest) -> str:
    """Returns which file to take, and why."""
    found = manifest.recommended
    if found is None:
        return "there is no file to recommend"
    return f"recommended: {found.path}, {found.reason}"


def fused_words(fusions: Sequence[Fusion]) -> str:
    """Returns a summary of fusions, such as `6 of 6 attention, 12 of 12 GELU`."""
    return ", ".join(f"{f.fused} of {f.found} {f.kind}" for f in fusions)
