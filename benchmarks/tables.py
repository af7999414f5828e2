"""The record as text."""

import statistics
from collections.abc import Sequence

from measure import Figures
from pipelines import MODEL, PEER, PIPELINES
from records import MEASURES, Record, spread

_MB = 1e6


def as_text(record: Record) -> str:
    """Returns what a reader wants to see, as lines."""
    parts = (_setting(record), _costs(record), _ratios(record), _files(record))
    return "\n\n".join(parts)


def _setting(record: Record) -> str:
    machine = record.machine
    lines = [
        f"machine  {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['kernel']}",
        f"load     {machine['load']} before the start; during the rounds other programs used "
        f"{record.others_share():.0%} of the machine",
        f"model    {MODEL.name}",
    ]
    for side, versions in record.versions.items():
        lines.append(f"{side:<8} " + ", ".join(f"{n} {v}" for n, v in versions.items()))
    return "\n".join(lines)


def _costs(record: Record) -> str:
    rows = [["", "wall s", "CPU s", "largest process MB", "all processes MB", "output MB"]]
    for pipeline in PIPELINES:
        key, costs = pipeline.key, record.costs(pipeline.key)
        tree = f"{record.tree_bytes(key) / _MB:.0f}"
        output = f"{record.folder_bytes[key] / _MB:.1f}"
        rows.append([f"{key}  {pipeline.title}", *_columns(costs), tree, output])
        steps = [run.steps for run in record.timed if run.pipeline == key]
        if len(steps[0]) > 1:
            rows += [[f"     {name}", *_columns([s[name] for s in steps])] for name in steps[0]]
    title = (
        f"median (min-max), {_keys()} in turn, rounds: {record.rounds}; all processes: those "
        "alive at once, shared pages counted once, sampled in the warm-up"
    )
    note = f"{PEER} includes optimum-cli's check on random ids, which cannot be switched off"
    return f"{title}\n{_aligned(rows)}\n{note}"


def _columns(costs: Sequence[Figures]) -> list[str]:
    return [
        _spread([f.wall_s for f in costs], "{:.2f}"),
        _spread([f.cpu_s for f in costs], "{:.2f}"),
        _spread([f.process_bytes / _MB for f in costs], "{:.0f}"),
    ]


def _ratios(record: Record) -> str:
    rows = [["", "wall", "CPU", "largest process", "all processes"]]
    for key in (p.key for p in PIPELINES if p.key != PEER):
        cells = [_spread(record.ratios(key, measure), "{:.2f}") for measure in MEASURES.values()]
        tree = record.tree_bytes(key) / record.tree_bytes(PEER)
        rows.append([f"{key} / {PEER}", *cells, f"{tree:.2f}"])
    return f"ours / peer: median (min-max) of the ratios in each round\n{_aligned(rows)}"


def _files(record: Record) -> str:
    rows = [["", "file", "MB", "mean cosine", "min cosine"]]
    for file in record.files:
        cosines = [f"{statistics.fmean(file.cosines):.6f}", f"{min(file.cosines):.6f}"]
        rows.append([file.pipelines, file.name, f"{file.bytes / _MB:.1f}", *cosines])
    texts = len(record.files[0].cosines)
    title = f"cosine to sentence-transformers over {texts} texts, one at a time"
    return f"{title}\n{_aligned(rows, left=2)}"


def _keys() -> str:
    return " ".join(pipeline.key for pipeline in PIPELINES)


def _spread(values: Sequence[float], style: str) -> str:
    middle, low, high = (style.format(value) for value in spread(values).values())
    return f"{middle} ({low}-{high})"


def _aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligns columns; the first ones to the left, those of numbers to the right."""
    count = len(rows[0])
    full = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(count)]
    lines = []
    for row in full:
        texts = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)][:left]
        numbers = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][left:]
        lines.append("  " + "  ".join([*texts, *numbers]).rstrip())
    return "\n".join(lines)
