"""Measures what each performance trick saves: `make bench-schedule`.

    python benchmarks/schedule.py [--models minilm-l6 bge-m3] [--tricks light_imports ...]
                                  [--pairs N] [--minutes N] [--json FILE] [--no_page]

Runs a verified conversion with and without one trick, alternately. Without it, a copy of the
package runs in which lines at the end of a module replace a function, so the product needs no
switches. No further pair begins when the minutes are over, but each model has one. The table is
written into docs/schedule.md. Linux, as root.
"""

import argparse
import compileall
import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groups import Cost, run_limited
from machine import installed, machine
from pages import replace_part, where_and_when
from pipelines import MODEL, OUR_BIN, ROOT

_GIB = 1 << 30
_WITH, _WITHOUT = "with", "without"


@dataclass(frozen=True)
class Trick:
    """A performance trick that can be left out.

    Attributes:
        module: The file of the package to which the lines are appended.
        lines: Python code that replaces the trick.
    """

    module: str
    lines: str


#: To measure a new one, add it here before it is merged.
TRICKS: Mapping[str, Trick] = {
    "light_imports": Trick(
        "processes/light_imports.py",
        "importing_what_is_used = contextlib.nullcontext\n_LIGHTLY.clear()",
    ),
}


@dataclass(frozen=True)
class Model:
    """A model to convert.

    Attributes:
        limit_gib: Memory limit of the conversion; None means no limit.
        options: Additional options of embconvert.
    """

    limit_gib: float | None
    options: tuple[str, ...] = ()


MODELS: Mapping[str, Model] = {
    "minilm-l6": Model(None),
    # Its weights are random, so eight bits lose more than with trained ones.
    "bge-m3": Model(1.5, ("--min_cosine", "0.1")),
}


def main() -> int:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tricks", nargs="+", choices=TRICKS, default=list(TRICKS))
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--minutes", type=float, default=12.0, metavar="N", help="default: 12")
    parser.add_argument("--json", type=Path, metavar="FILE", default=ROOT / "build/schedule.json")
    parser.add_argument("--no_page", action="store_true", help="leave docs/schedule.md alone")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    where, found = machine(), list[dict[str, Any]]()
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="schedule-", dir=ROOT / "build") as work:
            for pair in _Bench(name, Path(work)).pairs(options.tricks, options.pairs, end):
                found.append(pair)
                facts = {"machine": where, "versions": installed(OUR_BIN), "pairs": found}
                options.json.write_text(json.dumps(facts, indent=2) + "\n")
    table = f"{_table(found)}\n\nMeasured on {where_and_when(where, {'ours': installed(OUR_BIN)})}."
    print(table)
    if not options.no_page:
        replace_part(ROOT / "docs/schedule.md", "make bench-schedule", table)
    return 0


class _Bench:
    """Measures tricks on one model.

    Args:
        name: A key of MODELS.
        work: For the model, packages and outputs.
    """

    def __init__(self, name: str, work: Path) -> None:
        self._name, self._work = name, work
        self._model = MODEL
        if name != "minilm-l6":
            self._model = work / name
            command = [str(OUR_BIN / "python"), "benchmarks/shapes.py", name, str(self._model)]
            built = run_limited(command, None, work / "log")
            if built.exit_code:
                raise RuntimeError(built.said)

    def pairs(self, tricks: Sequence[str], count: int, end: float) -> Iterator[dict[str, Any]]:
        """Yields the costs of pairs of conversions.

        Args:
            count: Of each trick, at most.
            end: After this time, each trick gets only one.
        """
        whole = self._package("whole", None)
        self._convert("warm-up", whole)
        for trick in tricks:
            changed = self._package(trick, TRICKS[trick])
            for number in range(count):
                if number and time.monotonic() > end:
                    break
                yield {
                    "model": self._name,
                    "trick": trick,
                    _WITH: dataclasses.asdict(self._convert(_WITH, whole)),
                    _WITHOUT: dataclasses.asdict(self._convert(f"{_WITHOUT} {trick}", changed)),
                }

    def _package(self, name: str, trick: Trick | None) -> Path:
        """Copies the package, without a trick; returns the folder of the copy."""
        folder = self._work / "packages" / name
        shutil.copytree(ROOT / "embconvert", folder / "embconvert")
        shutil.copy(ROOT / "entrypoint.py", folder)
        if trick is not None:
            with (folder / "embconvert" / trick.module).open("a") as module:
                module.write(f"\n\n{trick.lines}\n")
        compileall.compile_dir(folder, quiet=1)
        return folder

    def _convert(self, label: str, package: Path) -> Cost:
        """Converts the model.

        Raises:
            RuntimeError: The conversion fails.
        """
        print(f"{time.strftime('%H:%M:%S')} {self._name}: {label}", file=sys.stderr)
        model, output = MODELS[self._name], self._work / "output"
        command = [str(OUR_BIN / "python"), str(package / "entrypoint.py"), "all"]
        command += ["--model_id", str(self._model), "--output_parent_dir", str(output)]
        command += ["--quantize", "QInt8"]
        os.sync()
        limit = None if model.limit_gib is None else int(model.limit_gib * _GIB)
        cost = run_limited([*command, *model.options], limit, self._work / "log")
        shutil.rmtree(output, ignore_errors=True)
        if cost.exit_code:
            raise RuntimeError(cost.said)
        return cost


def _table(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Returns a row for each model and trick: medians without it, and ratios to the run with it."""
    lines = [
        "| model | without | pairs | wall | ratio | CPU | ratio | memory | ratio |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for model, trick in dict.fromkeys((pair["model"], pair["trick"]) for pair in pairs):
        own = [pair for pair in pairs if (pair["model"], pair["trick"]) == (model, trick)]
        cells = [model, trick, str(len(own))]
        for measure, unit, style in (
            ("wall_s", 1, "{:.1f} s"),
            ("cpu_s", 1, "{:.1f} s"),
            ("peak_bytes", 1e9, "{:.2f} GB"),
        ):
            ratios = sorted(pair[_WITHOUT][measure] / pair[_WITH][measure] for pair in own)
            cells.append(style.format(statistics.median(p[_WITHOUT][measure] for p in own) / unit))
            middle = statistics.median(ratios)
            cells.append(f"{middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
