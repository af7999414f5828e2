"""Plots of wall time and memory, drawn beside the documents that show them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pygal
from pygal.style import Style

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_STYLE = Style(
    background="#ffffff", plot_background="#ffffff", foreground="#333333",
    foreground_strong="#111111", foreground_subtle="#666666", colors=("#0b6e99", "#c2571a"),
    font_family="sans-serif", label_font_size=13, major_label_font_size=13, title_font_size=17,
    legend_font_size=14,
)  # fmt: skip
#: Of both axes, whose lines are the same.
_MOST_STEPS = 10


def _round_step(least: float) -> float:
    """Returns the next step that reads well: 1, 2, 2.5, 4 or 5, or a tenth or ten times that."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * part for part in (1, 2, 2.5, 4, 5, 10) if power * part >= least)


def draw(
    name: str,
    title: str,
    x_title: str,
    points: Sequence[tuple[float, float, float]],
    labels: Mapping[str, float],
    memory: str,
) -> None:
    """Draws wall time on the left axis and memory on the right one.

    Args:
        name: Of the file, without its suffix.
        title: Above the plot.
        x_title: Below it.
        points: Each the place on the horizontal axis, seconds and bytes.
        labels: Of the horizontal axis, and their places on it.
        memory: What the right axis shows.
    """
    chart = pygal.XY(
        style=_STYLE, width=760, height=420, title=title, x_title=x_title, js=[],
        show_y_guides=True, show_x_guides=True, legend_at_bottom=True, truncate_legend=-1,
        dots_size=4, include_x_axis=True, y_title="wall time, s",
        value_formatter=lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}",
    )  # fmt: skip
    seconds_most = max(seconds for _, seconds, _ in points)
    step = _round_step(seconds_most / _MOST_STEPS)
    steps = math.ceil(seconds_most / step)
    memory_step = _round_step(max(size for _, _, size in points) / 1e9 / steps)
    chart.range, chart.secondary_range = (0, steps * step), (0, steps * memory_step)
    chart.y_labels = [number * step for number in range(steps + 1)]
    chart.x_labels = [{"label": label, "value": place} for label, place in labels.items()]
    chart.add("wall time, s", [(x, seconds) for x, seconds, _ in points])
    chart.add(f"{memory}, GB (right)", [(x, size / 1e9) for x, _, size in points], secondary=True)
    path = _DOCS / f"{name}.svg"
    path.write_bytes(chart.render())
    print(path)
