"""Measures embconvert beside the usual pipeline of three tools; `make bench` runs it.

    python benchmarks/convert.py [--models minilm e5-small] [--minutes N] [--json FILE] [--no_page]

Whole processes, one pipeline after the other and again, and writes the figures into
docs/performance.md. The rounds end when the minutes are over. It judges nothing. Linux only.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from machine import machine, versions
from measure import Figures, StepFailed, adopt_orphans, measure
from pipelines import MODEL, MODELS, OUR_BIN, PEER_BIN, PIPELINES, ROOT, VERIFIED
from records import Record, Run
from tables import as_markdown, write_fleets, write_page

_MOST_ROUNDS = 5
_WARM_UP = "warm-up"
_JOBS = "times of the jobs"
_START = time.perf_counter()


def main() -> int:
    """Measures, prints and writes."""
    options = _options()
    for needed in (MODEL, OUR_BIN / "embconvert", PEER_BIN / "optimum-cli"):
        if not needed.exists():
            print(f"error: {needed} is missing\nhint: run: make bench", file=sys.stderr)
            return 2
    adopt_orphans()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as work:
            record = _Bench(options.models, 60 * options.minutes, Path(work)).measured()
    except StepFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(as_markdown(record))
    options.json.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n")
    if not options.no_page:
        write_page(record)
        if "minilm" in options.models:
            write_fleets(record)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--minutes", type=float, default=13.0, metavar="N", help="in all (default: 13)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", default=ROOT / "build/bench.json")
    parser.add_argument("--no_page", action="store_true", help="leave docs/performance.md alone")
    return parser.parse_args()


class _Bench:
    """Runs the pipelines on the models, in turns.

    Args:
        models: Keys of MODELS.
        seconds: After which no further round begins.
        work: A folder for what is made.
    """

    def __init__(self, models: Sequence[str], seconds: float, work: Path) -> None:
        self._models, self._seconds, self._work = models, seconds, work
        self._log = work / "log"

    def measured(self) -> Record:
        """Returns the figures; each model has at least one round.

        Raises:
            StepFailed: A process failed.
        """
        where = machine()
        sources = {key: self._source(key) for key in self._models}
        runs: list[Run] = []
        jobs: dict[str, str] = {}
        # The first round warms the caches. It alone samples memory, which would disturb the times.
        for number in range(_MOST_ROUNDS + 1):
            for key, source in sources.items():
                started = time.perf_counter()
                took = [r.total.wall_s for r in runs if (r.model, r.round) == (key, number - 1)]
                if number > 1 and started - _START + sum(took) > self._seconds:
                    continue
                runs += self._round(key, source, number)
                if number == 0:
                    jobs[key] = self._jobs(key, source)
        return Record(where, versions(), runs, jobs)

    def _source(self, key: str) -> Path:
        shape = MODELS[key].shape
        if shape is None:
            return MODEL
        folder = self._work / key
        _tell(f"{key}: making the model")
        command = (str(OUR_BIN / "python"), "benchmarks/shapes.py", shape, str(folder))
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        return folder

    def _round(self, key: str, source: Path, number: int) -> Iterator[Run]:
        """Yields the cost of each pipeline."""
        label = f"round {number}" if number else _WARM_UP
        outputs = self._work / "outputs"
        for name, pipeline in PIPELINES.items():
            folder = outputs / (pipeline.continues or name)
            folder.mkdir(parents=True, exist_ok=pipeline.continues is not None)
            # What the run before wrote must not be flushed at this one's expense.
            os.sync()
            figures: dict[str, Figures] = {}
            for step in pipeline.steps(MODELS[key], source, folder):
                _tell(f"{key}, {label}: {name} {step.name}")
                figures[step.name] = measure(step, self._log, sample=number == 0)
            yield Run(key, number, name, figures)
        shutil.rmtree(outputs)

    def _jobs(self, key: str, source: Path) -> str:
        """Returns the jobs of a verified run as `--debug` prints them, as a Markdown table."""
        folder = self._work / "jobs"
        pipeline = PIPELINES[VERIFIED]
        (step,) = pipeline.steps(MODELS[key], source, folder)
        step = dataclasses.replace(step, command=(*step.command, "--debug"))
        measure(step, self._log, sample=False)
        shutil.rmtree(folder)
        return as_table(self._log.read_text(errors="replace"))


def as_table(output: str) -> str:
    """Returns the table of jobs in what `--debug` printed, as Markdown."""
    lines = output.partition(_JOBS)[2].splitlines()
    rows: list[list[str]] = []
    for line in lines[1:]:
        if not line.strip():
            if rows:
                break
            continue
        if "─" not in line:
            rows.append(line.replace("  ", "\0").split("\0"))
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    head, *others = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([head, "|---|---:|---:|---:|", *others])


def _tell(message: str) -> None:
    print(f"[{time.perf_counter() - _START:4.0f} s] {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
