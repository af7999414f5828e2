"""Memory and time of conversions under a memory limit, beside the peers: `make bench-memory`.

    python benchmarks/memory.py [--rows bge-m3 ...] [--no_peers] [--limited] [--timeout_s N]
                                [--json FILE] [--page]

Each row is a model of real shape with random weights, converted under its limit and without one;
the files must be the same. How long a plain copy of the model and of these files takes is measured,
too. It reports and judges nothing else. Every run is noted in FILE as soon as it ends, and rows
that are not asked for stay there. --page replaces the measured rows of docs/memory.md. Linux, as
root.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groups import TIMED_OUT, Cost, run_limited
from machine import machine, versions
from pages import replace_part, replace_rows, where_and_when
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
    parser.add_argument(
        "--limited", action="store_true", help="embconvert under the limit, no more"
    )
    parser.add_argument("--timeout_s", type=float, default=1200.0, help="of each run")
    parser.add_argument("--json", type=Path, metavar="FILE", default=ROOT / "build/memory.json")
    parser.add_argument("--page", action="store_true", help="write rows into docs/memory.md")
    parser.add_argument("--print", action="store_true", help="print what is in FILE, no more")
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    if options.json.is_file():
        found = json.loads(options.json.read_text())["runs"]
    if not options.print:
        rows = [row for row in ROWS if not options.rows or row.shape in options.rows]
        again = {row.shape for row in rows}
        found = [run for run in found if run["row"]["shape"] not in again]
        for row in rows:
            with tempfile.TemporaryDirectory(prefix="memory-", dir=ROOT / "build") as work:
                bench = _Bench(row, Path(work), options.timeout_s)
                for measured in bench.measure(peers=not options.no_peers, limited=options.limited):
                    new.append(dataclasses.asdict(measured))
                    found.append(new[-1])
                    facts = {"machine": machine(), "versions": versions(), "runs": found}
                    options.json.write_text(json.dumps(facts, indent=2) + "\n")
    print(_table(found))
    if options.page:
        _write_page(new)
    return 0


def _write_page(new: list[dict[str, Any]]) -> None:
    """Replaces the rows of docs/memory.md that were measured again, and says when that was."""
    page = ROOT / "docs/memory.md"
    replace_rows(page, _table(new).splitlines()[2:], named_by=3)
    rows = dict.fromkeys(f"{run['tool']} ({run['row']['shape']})" for run in new)
    where = where_and_when(machine(), versions())
    replace_part(page, "make bench-memory", f"Measured again: {', '.join(rows)}: {where}.")


class _Bench:
    """Measures all tools on a row.

    Args:
        row: The model.
        work: A folder for what is made.
        timeout_s: Of each run.
    """

    def __init__(self, row: Row, work: Path, timeout_s: float) -> None:
        self._row, self._work, self._timeout_s = row, work, timeout_s
        self._model = work / row.shape
        build = [str(OUR_BIN / "python"), "benchmarks/shapes.py", row.shape, str(self._model)]
        built = run_limited(build, None, work / "log")
        if built.exit_code:
            raise RuntimeError(built.said)

    def measure(self, *, peers: bool, limited: bool) -> Iterator[Measured]:
        """Yields the costs, ours first."""
        limit = self._row.limit_gib
        yield from self._ours((limit,) if limited else (None, limit))
        if peers and not limited:
            yield from self._peers()

    def _ours(self, limits: Sequence[float | None]) -> Iterator[Measured]:
        row, output = self._row, self._work / "ours"
        hashes: dict[float | None, Mapping[str, str]] = {}
        for limit in limits:
            command = [str(OUR_BIN / "embconvert"), "all", "--model_id", str(self._model)]
            command += [*_OPTIONS, "--output_parent_dir", str(output), *row.options]
            measured = self._run("embconvert", command, limit)
            hashes[limit] = _hashes(output / row.shape / "embconvert.json")
            if limit and None in hashes and not measured.cost.exit_code:
                measured = replace(measured, same_files=hashes[None] == hashes[limit])
            yield measured
            if limit and not measured.cost.exit_code:
                yield self._copied(output, limit)
            shutil.rmtree(output, ignore_errors=True)

    def _copied(self, output: Path, limit: float) -> Measured:
        """Copies what was read and what was written, from the disk to the disk."""
        copy = self._work / "copy"
        copy.mkdir()
        Path("/proc/sys/vm/drop_caches").write_text("1")
        script = 'cp -r "$1" "$2" "$3" && find "$3" -type f -exec sync {} +'
        words = ["sh", "-c", script, "sh", str(self._model), str(output), str(copy)]
        measured = self._run("copy", words, limit)
        shutil.rmtree(copy)
        return measured

    def _peers(self) -> Iterator[Measured]:
        limits = (self._row.limit_gib, None)
        output, model = self._work / "peer", str(self._model)
        optimum = [str(PEER_BIN / "optimum-cli"), "export", "onnx", "--model", model]
        optimum += ["--task", "feature-extraction", "--opset", "17", str(output)]
        own = [str(OUR_BIN / "python"), "benchmarks/peer_export.py", model, str(output)]
        # optimum's is the last, and without a limit, so that the quantizers have a file.
        for tool, command in (("transformers' exporter", own), ("optimum-onnx, export", optimum)):
            for limit in limits:
                shutil.rmtree(output, ignore_errors=True)
                yield self._run(tool, command, limit)
        quantizers = {"quantize_dynamic": "int8", "float16 converter": "float16"}
        if (output / "model.onnx_data").exists():
            quantizers["quantize_dynamic"] = "large int8"
        for name, kind in quantizers.items():
            small = self._work / "small"
            for limit in limits:
                small.mkdir()
                command = [str(PEER_BIN / "python"), "benchmarks/peer_quantize.py"]
                command += [str(output / "model.onnx"), str(small / "small.onnx"), kind]
                yield self._run(f"ONNX Runtime, {name}", command, limit)
                shutil.rmtree(small)

    def _run(self, tool: str, command: list[str], limit: float | None) -> Measured:
        with_limit = f"under {limit} GiB" if limit else "without a limit"
        print(
            f"{time.strftime('%H:%M:%S')} {self._row.shape}: {tool} {with_limit}", file=sys.stderr
        )
        limit_bytes = int(limit * _GIB) if limit else None
        log = self._work / "log"
        cost = run_limited(command, limit_bytes, log, timeout_s=self._timeout_s)
        return Measured(self._row, tool, limit, cost)


def _hashes(manifest: Path) -> Mapping[str, Any]:
    if not manifest.is_file():
        return {}
    return {
        a["path"]: (a["sha256"], a["external_data"])
        for a in json.loads(manifest.read_text())["artifacts"]
    }


def _table(found: list[dict[str, Any]]) -> str:
    """Returns a row for each model and tool, under the limit and without one."""
    lines = [
        "| model | limit | tool | under the limit | memory | wall | processor | read | written "
        "| without one | memory | wall | processor | written |",
        "|---|---:|---|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    pairs: dict[tuple[str, str], dict[bool, dict[str, Any]]] = {}
    for run in found:
        key = run["row"]["shape"], run["tool"]
        pairs.setdefault(key, {})[run["limit_gib"] is not None] = run
    for (shape, tool), pair in pairs.items():
        limit = next(iter(pair.values()))["row"]["limit_gib"]
        cells = [shape, f"{limit:g} GiB", tool, *_cells(pair.get(True))]
        lines.append(f"| {' | '.join([*cells, *_cells(pair.get(False), read=False)])} |")
    return "\n".join(lines)


def _cells(run: dict[str, Any] | None, *, read: bool = True) -> list[str]:
    if run is None:
        return ["-"] * (6 if read else 5)
    cost = run["cost"]
    outcome = "done" if not cost["exit_code"] else _words(cost)
    if run["same_files"] is not None:
        outcome += ", the same files" if run["same_files"] else ", OTHER FILES"
    cells = [outcome, f"{cost['peak_bytes'] / 1e9:.2f} GB", f"{cost['wall_s']:.0f} s"]
    cells.append(f"{cost['cpu_s']:.0f} s")
    sizes = ["read_bytes", "written_bytes"] if read else ["written_bytes"]
    return cells + [f"{cost[size] / 1e9:.1f} GB" for size in sizes]


def _words(cost: Mapping[str, Any]) -> str:
    """Returns what a failure said, in a table's cell."""
    if cost["exit_code"] in (-9, 137):
        return "killed for lack of memory"
    if cost["exit_code"] == TIMED_OUT:
        return f"not done after {cost['wall_s'] / 60:.0f} minutes"
    lines = [line for line in cost["said"].splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    words: str = (errors or lines or [f"exit code {cost['exit_code']}"])[-1]
    return words[:160].replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
