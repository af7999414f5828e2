"""Draws docs/fleet-*.svg from what benchmarks/fleet.py measured.

python benchmarks/plot_fleet.py [FIGURES.json]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "build/fleet-cost.json"
DOCS = ROOT / "docs"
STYLE = Style(
    background="#ffffff", plot_background="#ffffff", foreground="#333333",
    foreground_strong="#111111", foreground_subtle="#666666", colors=("#0b6e99", "#c2571a"),
    font_family="sans-serif", label_font_size=13, major_label_font_size=13, title_font_size=17,
    legend_font_size=14,
)  # fmt: skip

Points = Sequence[dict[str, Any]]


def draw(name: str, title: str, x_title: str, points: Points, x: str) -> None:
    """Draws wall time on the left axis and memory on the right one.

    Args:
        name: Of the file.
        title: Above the plot.
        x_title: Below it.
        points: The figures.
        x: Which of them is the horizontal axis.
    """
    chart = pygal.XY(
        style=STYLE, width=760, height=420, title=title, x_title=x_title, js=[],
        show_y_guides=True, legend_at_bottom=True, truncate_legend=-1, dots_size=4,
        include_x_axis=True,
        x_value_formatter=lambda value: f"{value:,.0f}",
        value_formatter=lambda value: f"{value:.3g}",
    )  # fmt: skip
    chart.x_labels = [point[x] for point in points]
    chart.y_title = "wall time, s"
    chart.add("wall time, s", [(point[x], round(point["wall_s"], 1)) for point in points])
    memory = [(point[x], round((point["tree_bytes"] or 0) / 1e9, 2)) for point in points]
    chart.add("memory of all processes, GB (right)", memory, secondary=True)
    DOCS.mkdir(exist_ok=True)
    path = DOCS / f"fleet-{name}.svg"
    path.write_bytes(chart.render())
    print(path)


def main() -> None:
    """Draws what there is."""
    figures = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else FIGURES).read_text())
    if "models" in figures:
        batches = [point for point in figures["models"] if point["how"] == "batch"]
        draw("models", "One batch of tiny models", "models", batches, "models")
    if "pods" in figures:
        title = f"{figures['pods'][0]['models']} tiny models on one machine"
        draw("pods", title, "pods", figures["pods"], "pods")


if __name__ == "__main__":
    main()
