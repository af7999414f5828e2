"""Memory and time of conversions under a memory limit, beside the peers: `make bench-memory`.

    python benchmarks/memory.py [--rows bge-m3 ...] [--json FILE] [--plot FILE]

Each row is a model of real shape with random weights, converted under its limit and without one;
the files must be the same. It reports and judges nothing else. Linux, as root.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groups import Cost, run_limited
from machine import machine, versions
from memory_plot import plot
from pipelines import OUR_BIN, PEER_BIN, ROOT

_GIB = 1 << 30
#: Random weights are harder on half precision and eight bits than trained ones.
_OPTIONS = ("--optimize", "1", "--quantize", "Float16,Q8", "--min_cosine", "0.9")


@dataclass(frozen=True)
class Row:
    """A model and its limit.

    Attributes:
        shape: A key of shapes.SHAPES.
        parameters: In millions.
        limit_gib: Memory that the conversion may use.
        options: More options of embconvert.
    """

    shape: str
    parameters: int
    limit_gib: float
    options: tuple[str, ...] = ()


ROWS = (
    Row("minilm-l6", 23, 1.0),
    Row("bert-base", 109, 1.5),
    Row("bert-large", 335, 1.5),
    Row("bge-m3", 568, 1.5),
    Row("qwen3-embedding-0.6b", 596, 1.5),
    Row("e5-mistral-7b", 7110, 6.0, ("--no_float32",)),
)


@dataclass(frozen=True)
class Measured:
    """One command's cost.

    Attributes:
        row: The model.
        tool: What ran.
        limit_gib: None for no limit.
        cost: What it took.
        same_files: Whether it wrote what the run without a limit wrote; None where that is unknown.
    """

    row: Row
    tool: str
    limit_gib: float | None
    cost: Cost
    same_files: bool | None = None


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=[row.shape for row in ROWS])
    parser.add_argument("--no_peers", action="store_true", help="embconvert alone")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.rows or row.shape in options.rows]
    (ROOT / "build").mkdir(exist_ok=True)
    found: list[Measured] = []
    for row in rows:
        with tempfile.TemporaryDirectory(prefix="memory-", dir=ROOT / "build") as work:
            found += _measure(row, Path(work), peers=not options.no_peers)
    print(_table(found))
    facts: dict[str, Any] = {"machine": machine(), "versions": versions()}
    facts["runs"] = [dataclasses.asdict(measured) for measured in found]
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2) + "\n")
    if options.plot:
        ours = [m for m in found if m.tool == "embconvert" and m.limit_gib and not m.cost.exit_code]
        points = [(m.row.parameters, m.cost.wall_s, m.cost.peak_bytes / 1e9) for m in ours]
        options.plot.write_text(plot(points), encoding="utf-8")
    return 0


def _measure(row: Row, work: Path, *, peers: bool) -> Iterator[Measured]:
    """Yields the costs of all tools on a row."""
    model = work / row.shape
    built = run_limited(
        [str(OUR_BIN / "python"), "benchmarks/shapes.py", row.shape, str(model)], None, work / "log"
    )
    if built.exit_code:
        raise RuntimeError(built.said)
    hashes: list[Mapping[str, str]] = []
    for limit in (None, row.limit_gib):
        output = work / "ours"
        command = [str(OUR_BIN / "embconvert"), "all", "--model_id", str(model), *_OPTIONS]
        command += ["--output_parent_dir", str(output), *row.options]
        cost = _run(command, limit, work, row, "embconvert")
        hashes.append(_hashes(output / row.shape / "embconvert.json"))
        same = hashes[0] == hashes[-1] if limit and not cost.exit_code else None
        yield Measured(row, "embconvert", limit, cost, same)
        shutil.rmtree(output, ignore_errors=True)
    if peers and (PEER_BIN / "optimum-cli").exists():
        for limit in (None, row.limit_gib):
            output = work / "peer"
            command = [str(PEER_BIN / "optimum-cli"), "export", "onnx", "--model", str(model)]
            command += ["--task", "feature-extraction", "--opset", "17", str(output)]
            cost = _run(command, limit, work, row, "optimum-onnx, export")
            yield Measured(row, "optimum-onnx, export", limit, cost)
            if limit is not None or cost.exit_code:
                continue
            quantize = [str(PEER_BIN / "python"), "benchmarks/peer_quantize.py"]
            quantize += [str(output / "model.onnx"), str(work / "small.onnx")]
            for inner in (None, row.limit_gib):
                cost = _run(quantize, inner, work, row, "quantize_dynamic")
                yield Measured(row, "ONNX Runtime, quantize_dynamic", inner, cost)
            shutil.rmtree(output, ignore_errors=True)


def _run(command: list[str], limit: float | None, work: Path, row: Row, tool: str) -> Cost:
    with_limit = f"under {limit} GiB" if limit else "without a limit"
    print(f"{time.strftime('%H:%M:%S')} {row.shape}: {tool} {with_limit}", file=sys.stderr)
    return run_limited(command, int(limit * _GIB) if limit else None, work / "log")


def _hashes(manifest: Path) -> Mapping[str, str]:
    if not manifest.is_file():
        return {}
    return {a["path"]: a["sha256"] for a in json.loads(manifest.read_text())["artifacts"]}


def _table(found: list[Measured]) -> str:
    lines = [
        "| model | tool | limit | outcome | peak memory | wall | read | written |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for measured in found:
        cost = measured.cost
        outcome = "done" if not cost.exit_code else _words(cost)
        if measured.same_files is not None:
            outcome += ", the same files" if measured.same_files else ", OTHER FILES"
        limit = f"{measured.limit_gib} GiB" if measured.limit_gib else "none"
        lines.append(
            f"| {measured.row.shape} | {measured.tool} | {limit} | {outcome} "
            f"| {cost.peak_bytes / 1e9:.2f} GB | {cost.wall_s:.0f} s "
            f"| {cost.read_bytes / 1e9:.1f} GB | {cost.written_bytes / 1e9:.1f} GB |"
        )
    return "\n".join(lines)


def _words(cost: Cost) -> str:
    """Returns what a failure said, in a table's cell."""
    if cost.exit_code == -9:
        return "killed for memory, without a word"
    lines = [line for line in cost.said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [f"exit code {cost.exit_code}"])[-1][:160].replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
