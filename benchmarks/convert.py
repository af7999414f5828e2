"""Measures embconvert beside the usual pipeline of three tools; `make bench` runs it.

Whole processes, one pipeline after the other and again, each into a fresh folder. It reports and
judges nothing. Linux only.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import machine, versions
from measure import OFFLINE, Figures, StepFailed, adopt_orphans, measure
from pipelines import MODEL, OUR_BIN, PEER_BIN, PIPELINES, ROOT, Pipeline
from records import File, Record, Run
from tables import as_text

_WARM_UP = "warm-up"
_START = time.perf_counter()


def main() -> int:
    """Measures and prints."""
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
            record = _measured(options.rounds, Path(work))
    except StepFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(as_text(record))
    if options.json:
        content = dataclasses.asdict(record) | {"summary": record.summary()}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=_positive, default=5, metavar="N", help="rounds that count (default: 5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def _measured(rounds: int, work: Path) -> Record:
    where = machine()
    runs: list[Run] = []
    # The first round warms the caches. It alone samples memory, which would disturb the times,
    # and its files are the ones that are looked at.
    for number in range(rounds + 1):
        for pipeline in PIPELINES:
            folder = work / pipeline.key if number == 0 else work / "timed"
            label = f"round {number} of {rounds}" if number else _WARM_UP
            runs.append(Run(number, pipeline.key, _run(pipeline, folder, label, work / "log")))
            if number:
                shutil.rmtree(folder)
    files = _files(work)
    sizes = {p.key: _size(work / p.key) for p in PIPELINES}
    return Record(where, versions(), runs, sizes, files)


def _run(pipeline: Pipeline, folder: Path, label: str, log: Path) -> dict[str, Figures]:
    folder.mkdir()
    # What the run before wrote must not be flushed at this one's expense.
    os.sync()
    figures: dict[str, Figures] = {}
    for step in pipeline.steps(folder):
        _tell(f"{label}: {pipeline.key} {step.name}")
        figures[step.name] = measure(step, log, sample=label == _WARM_UP)
    return figures


def _files(work: Path) -> list[File]:
    """Returns the ONNX files of the pipelines, those with the same bytes once."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(work.rglob("*.onnx"), key=lambda path: (len(path.name), path)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        groups.setdefault((path.name, digest), []).append(path)
    _tell(f"cosines of {len(groups)} different files")
    found = _cosines([paths[0] for paths in groups.values()])
    return [
        File(
            pipelines=" ".join(path.relative_to(work).parts[0] for path in paths),
            name=name,
            bytes=paths[0].stat().st_size,
            cosines=cosines,
        )
        for ((name, _), paths), cosines in zip(groups.items(), found, strict=True)
    ]


def _cosines(files: Sequence[Path]) -> list[list[float]]:
    helper = Path(__file__).with_name("cosines.py")
    command = [str(OUR_BIN / "python"), str(helper), str(MODEL), *map(str, files)]
    environment = os.environ | OFFLINE
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise StepFailed(f"{helper}\n{done.stderr[-2000:]}")
    found: list[list[float]] = json.loads(done.stdout)
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tell(message: str) -> None:
    print(f"[{time.perf_counter() - _START:4.0f} s] {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
