"""The record of `make bench` as Markdown, and its place in the documentation."""

import re
from collections.abc import Sequence
from pathlib import Path

from pages import replace_part, where_and_when
from pipelines import GOALS, MODELS, PIPELINES, ROOT, VERIFIED
from records import Record, spread

PAGE, FLEETS = ROOT / "docs/performance.md", ROOT / "docs/fleets.md"
_MB = 1e6


def write_page(record: Record, page: Path = PAGE) -> None:
    """Puts the figures in the place of those of the last measurement.

    Args:
        page: A page of the documentation.

    Raises:
        ValueError: The page has no place for them.
    """
    replace_part(page, "make bench", as_markdown(record))


def write_fleets(record: Record, page: Path = FLEETS) -> None:
    """Puts what a fleet of MiniLMs takes in the place of what it took.

    Raises:
        ValueError: The page does not have the sentences.
    """
    seconds = f"{spread(record.values('minilm', VERIFIED, 'cpu_s'))[0]:.1f}"
    hours = 10_000 * float(seconds) / 3600
    text = page.read_text()
    for before, number, after in (
        ("takes ", seconds, " s of CPU time with verification"),
        ("of that size take ", f"{hours:.0f}", " core-hours"),
        ("core-hours, ", f"{60 * hours / 40:.0f}", " minutes for 20 pods with 2 cores each"),
    ):
        text, count = re.subn(f"{before}[0-9.]+{after}", f"{before}{number}{after}", text)
        if count != 1:
            raise ValueError(f"{page} does not say once: {before}...{after}")
    page.write_text(text)


def as_markdown(record: Record) -> str:
    """Returns what a reader wants to see."""
    parts = [_goals(record)]
    parts += [_costs(record, model) for model in MODELS if _is_measured(record, model)]
    return "\n\n".join([*parts, _setting(record)])


def _is_measured(record: Record, model: str) -> bool:
    return any(run.model == model and run.round for run in record.runs)


def _goals(record: Record) -> str:
    models = [key for key in MODELS if _is_measured(record, key)]
    lines = [
        f"| share of the other tools' cost | goal | {' | '.join(models)} |",
        f"|---|---:|{'---:|' * len(models)}",
    ]
    for goal in GOALS:
        cells = []
        for model in models:
            ratios = record.ratios(model, goal.pipeline, goal.over, goal.measure)
            cells.append(_spread(ratios, "{:.2f}"))
        lines.append(f"| {goal.title} | {goal.most:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _costs(record: Record, model: str) -> str:
    lines = [
        f"{MODELS[model].title}, rounds: {record.rounds(model)}:",
        "",
        "| | wall | CPU | largest process | all processes |",
        "|---|---:|---:|---:|---:|",
    ]
    for key, pipeline in PIPELINES.items():

        def cell(measure: str, style: str, unit: float = 1.0, key: str = key) -> str:
            values = [value / unit for value in record.values(model, key, measure)]
            return _spread(values, style)

        cells = [cell("wall_s", "{:.1f} s"), cell("cpu_s", "{:.1f} s")]
        cells += [cell(name, "{:.0f} MB", _MB) for name in ("process_bytes", "tree_bytes")]
        lines.append(f"| {pipeline.title} | {' | '.join(cells)} |")
    jobs = record.jobs.get(model)
    if jobs is not None:
        lines += ["", "The jobs of `--quantize QInt8`, from `--debug`:", "", jobs]
    return "\n".join(lines)


def _setting(record: Record) -> str:
    where = where_and_when(record.machine, record.versions)
    return (
        f"Measured on {where}. Other programs used {record.others_share():.0%} of the machine. "
        "Whole processes in turns, median and range of the rounds; memory of all processes (shared "
        "pages counted once) is sampled in the warm-up."
    )


def _spread(values: Sequence[float], style: str) -> str:
    if not values:
        return "-"
    middle, low, high = (style.format(value) for value in spread(values))
    return middle if len(values) == 1 else f"{middle} ({low.split()[0]} to {high.split()[0]})"
