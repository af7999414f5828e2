"""Draws docs/fleet-*.svg from what benchmarks/fleet.py measured.

python benchmarks/plot_fleet.py [FIGURES.json]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines import ROOT
from plots import draw


def main() -> None:
    """Draws what there is."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/fleet-cost.json"
    figures = json.loads(file.read_text())
    if "models" in figures:
        batches = [point for point in figures["models"] if point["how"] == "batch"]
        _draw("models", "One batch of tiny models", batches)
    if "pods" in figures:
        pods = figures["pods"]
        _draw("pods", f"{pods[0]['models']} tiny models on one machine", pods)


def _draw(axis: str, title: str, found: Sequence[dict[str, Any]]) -> None:
    draw(
        f"fleet-{axis}",
        title,
        axis,
        [(point[axis], point["wall_s"], point["tree_bytes"] or 0) for point in found],
        {str(point[axis]): point[axis] for point in found},
        "memory of all processes",
    )


if __name__ == "__main__":
    main()
