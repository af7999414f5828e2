"""Draws docs/memory.svg from what benchmarks/memory.py measured.

python benchmarks/plot_memory.py [FIGURES.json]
"""

import json
import math
import sys
from pathlib import Path

from pipelines import ROOT
from plots import draw

#: On the horizontal axis, in millions.
_LABELS = {"20M": 20, "50M": 50, "100M": 100, "200M": 200, "500M": 500, "1B": 1e3, "2B": 2e3,
           "4B": 4e3, "8B": 8e3}  # fmt: skip


def main() -> None:
    """Draws the conversions under a limit, against the logarithm of the model's parameters."""
    figures = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/memory.json"
    runs = [
        run
        for run in json.loads(figures.read_text())["runs"]
        if run["tool"] == "embconvert" and run["limit_gib"] and not run["cost"]["exit_code"]
    ]
    runs.sort(key=lambda run: run["row"]["parameters"])
    largest = runs[-1]["row"]["parameters"]
    draw(
        "memory",
        "embconvert all --quantize Float16,Q8 under a memory limit",
        "parameters",
        [
            (math.log10(run["row"]["parameters"]), cost["wall_s"], cost["peak_bytes"])
            for run in runs
            for cost in [run["cost"]]
        ],
        {label: math.log10(size) for label, size in _LABELS.items() if size < 1.5 * largest},
        "memory beside page cache",
    )


if __name__ == "__main__":
    main()
