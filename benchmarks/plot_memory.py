"""Draws docs/memory.svg from what benchmarks/memory.py measured.

python benchmarks/plot_memory.py [FIGURES.json]
"""

import json
import sys
from pathlib import Path

import pygal
from plot_fleet import DOCS, ROOT, STYLE


def main() -> None:
    """Draws wall time on the left axis and memory on the right one, against parameters."""
    figures = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/memory.json"
    runs = [
        run
        for run in json.loads(figures.read_text())["runs"]
        if run["tool"] == "embconvert" and run["limit_gib"] and not run["cost"]["exit_code"]
    ]
    runs.sort(key=lambda run: run["row"]["parameters"])
    chart = pygal.XY(
        style=STYLE, width=760, height=420, title="embconvert all under a memory limit",
        x_title="million parameters", y_title="time, s", js=[], logarithmic=True,
        show_y_guides=True, legend_at_bottom=True, truncate_legend=-1, dots_size=4,
        x_value_formatter=lambda value: f"{value:,.0f}",
    )  # fmt: skip
    for title, key in (("wall time, s", "wall_s"), ("processor time, s", "cpu_s")):
        points = [(run["row"]["parameters"], round(run["cost"][key], 1)) for run in runs]
        chart.add(title, points)
    memory = [(r["row"]["parameters"], round(r["cost"]["peak_bytes"] / 1e9, 2)) for r in runs]
    chart.add("memory without page cache, GB", memory)
    (DOCS / "memory.svg").write_bytes(chart.render())


if __name__ == "__main__":
    main()
