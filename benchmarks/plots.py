"""Plots of wall time and memory, drawn beside the documents that show them."""

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
    chart.x_labels = [{"label": label, "value": place} for label, place in labels.items()]
    chart.add("wall time, s", [(x, seconds) for x, seconds, _ in points])
    chart.add(f"{memory}, GB (right)", [(x, size / 1e9) for x, _, size in points], secondary=True)
    path = _DOCS / f"{name}.svg"
    path.write_bytes(chart.render())
    print(path)
