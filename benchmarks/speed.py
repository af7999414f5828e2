"""Measures graphs beside each other, in one process, by turns; `make bench-speed` runs it.

    python benchmarks/speed.py [--models NAME ...] [--rounds N] [--one_thread] [--json FILE]
                               [--prepare]

With `--one_thread` every contender has one thread, and its processor time is measured: other work
on the machine then counts little. Without, all cores and the time that passes.

A turn is a run that is not counted, which lets the threads of the one before go to sleep, and one
that is; the median of the turns is reported. The roofline is the best rate of a large float32
matrix product, by torch or by ONNX Runtime, in the same process; a graph's rate is the additions
and multiplications of its matrix products over its time.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from speed_models import (
    GRAPHS,
    LEVEL_1,
    LEVEL_2,
    MODELS,
    PLAIN,
    TORCH,
    graph,
    prepare,
    source_folder,
)

from embconvert.graph.onnx_file import read_model
from embconvert.processes.resources import cpus, limit_threads
from embconvert.rewrite.facts import Facts
from embconvert.rewrite.sizes import Size, product

#: (batch, seq)
SHAPES = ((1, 16), (1, 128), (32, 32), (16, 128), (4, 512))
_OURS = (LEVEL_1, LEVEL_2)
_PEAK_SIZE = 2048


@dataclass(frozen=True)
class Timing:
    """The times of all contenders at one shape of one model.

    Attributes:
        model: Its name.
        batch: Texts.
        seq: Tokens of each.
        gflop: Additions and multiplications in matrix products, in 10^9; None where the graph does
            not tell its sizes.
        seconds: By contender.
    """

    model: str
    batch: int
    seq: int
    gflop: float | None
    seconds: dict[str, float]

    @property
    def ours(self) -> float:
        """The better of our levels."""
        return min(self.seconds[c] for c in _OURS)

    @property
    def best_other(self) -> str:
        """The fastest of the others."""
        others = [c for c in self.seconds if c not in _OURS]
        return min(others, key=lambda contender: self.seconds[contender])


def main() -> int:
    """Measures and prints."""
    options = _options()
    limit_threads()
    failures = {name: prepare(name) for name in options.models}
    for name, failed in failures.items():
        for contender, reason in failed.items():
            print(f"warning: {name}, {contender}: {reason}", file=sys.stderr)
    if options.prepare:
        return 0
    clock = _Clock.of(one_thread=options.one_thread)
    peak = _peak_gflops(clock)
    timings = [t for name in options.models for t in _measure(name, options.rounds, clock)]
    print(_as_text(timings, peak, options.rounds, clock))
    if options.json:
        content = {
            "machine": machine(),
            "threads": clock.threads,
            "peak_gflops": peak,
            "timings": list(map(asdict, timings)),
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=9, help="turns that count (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    parser.add_argument("--one_thread", action="store_true", help="processor time of one thread")
    parser.add_argument("--prepare", action="store_true", help="make the graphs, measure nothing")
    return parser.parse_args()


@dataclass(frozen=True)
class _Clock:
    """What is measured.

    Attributes:
        threads: Of every contender.
        now: Gives the time.
        words: For the table.
    """

    threads: int
    now: Callable[[], float]
    words: str

    @staticmethod
    def of(*, one_thread: bool) -> "_Clock":
        import torch

        threads = 1 if one_thread else cpus()
        torch.set_num_threads(threads)
        if one_thread:
            return _Clock(1, time.thread_time, "one thread, its processor time")
        return _Clock(threads, time.perf_counter, f"{threads} threads")

    def options(self) -> Any:
        """Returns ONNX Runtime's options."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        return options

    def seconds(self, run: Callable[[], Any]) -> float:
        """Returns what a run takes."""
        start = self.now()
        run()
        return self.now() - start


def _peak_gflops(clock: _Clock) -> float:
    """Returns the machine's rate in float32 matrix products, in 10^9 operations a second."""
    import onnx
    import onnxruntime
    import torch
    from onnx import helper

    n = _PEAK_SIZE
    a, b = (torch.randn(n, n) for _ in range(2))
    weight = onnx.numpy_helper.from_array(b.numpy(), "b")
    graph_of_one = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [n, n])],
        [helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [n, n])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph_of_one, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), clock.options())
    feed = {"a": a.numpy()}
    best = min(
        clock.seconds(run)
        for run in (lambda: torch.mm(a, b), lambda: session.run(None, feed))
        for _ in range(10)
    )
    return 2 * n**3 / best / 1e9


def _measure(name: str, rounds: int, clock: _Clock) -> list[Timing]:
    import onnxruntime

    sessions = {
        contender: onnxruntime.InferenceSession(str(graph(name, contender)), clock.options())
        for contender in GRAPHS
        if graph(name, contender).exists()
    }
    source = _torch_model(name)
    products = _matrix_products(graph(name, PLAIN))
    timings = []
    for batch, seq in SHAPES:
        feed = _feed(batch, seq)
        runs: dict[str, Callable[[], Any]] = {TORCH: lambda feed=feed: source(feed)}  # type: ignore[misc]
        for contender, session in sessions.items():
            named = {i.name: feed[i.name] for i in session.get_inputs()}
            runs[contender] = lambda session=session, named=named: session.run(None, named)  # type: ignore[misc]
        _compare({c: run()[0] for c, run in runs.items() if c != TORCH}, name)
        times: dict[str, list[float]] = {contender: [] for contender in runs}
        for turn in range(rounds):
            for contender, run in runs.items():
                if clock.threads > 1 or turn == 0:
                    run()
                times[contender].append(clock.seconds(run))
        gflop = None
        if products is not None:
            gflop = sum(_value(size, batch, seq) for size in products) / 1e9
        medians = {contender: statistics.median(t) for contender, t in times.items()}
        timings.append(Timing(name, batch, seq, gflop, medians))
        milliseconds = {c: round(1e3 * t, 1) for c, t in medians.items()}
        print(f"{name} {batch}x{seq}: {milliseconds}", file=sys.stderr, flush=True)
    return timings


def _torch_model(name: str) -> Callable[[dict[str, Any]], Any]:
    """Returns the source in torch, with the attention that transformers chooses."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source_folder(name)), device="cpu", local_files_only=True)
    names = model.tokenizer.model_input_names

    def run(feed: dict[str, Any]) -> Any:
        with torch.inference_mode():
            return model({n: torch.from_numpy(feed[n]) for n in names})

    return run


def _feed(batch: int, seq: int) -> dict[str, Any]:
    ids = np.random.default_rng(0).integers(5, 390, (batch, seq))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


def _compare(outputs: dict[str, Any], name: str) -> None:
    """Refuses to time a graph that gives something else."""
    for contender, found in outputs.items():
        difference = float(np.abs(found - outputs[PLAIN]).max())
        if not difference < 1e-2:
            print(f"warning: {name}, {contender} differs by {difference:.2g}", file=sys.stderr)


def _matrix_products(path: Path) -> list[Size] | None:
    """Returns the operations of each matrix product, None where the sizes of one are unknown."""
    model = read_model(path)
    facts = Facts(model.graph)
    sizes = []
    for node in model.graph:
        if node.op_type == "MatMul":
            whole, left = (facts.shape(value) for value in (node.outputs[0], node.inputs[0]))
            if whole is None or left is None:
                return None
            sizes.append(product(whole) * left[-1] * 2)
    return sizes


def _value(size: Size, batch: int, seq: int) -> int:
    axes = {"batch": batch, "seq": seq}
    total = 0
    for names, factor in size.terms:
        for axis in names:
            factor *= axes[axis]  # noqa: PLW2901
        total += factor
    return total


def _as_text(timings: list[Timing], peak: float, rounds: int, clock: _Clock) -> str:
    contenders = (TORCH, *GRAPHS)
    where = machine()
    lines = [
        f"{where['cpu']}, {where['cores']} cores; {clock.words}; medians of {rounds} turns, "
        "milliseconds. "
        f"Peak in float32 matrix products: {peak:.0f} GFLOP/s.",
        "",
        "| model | batch x seq | " + " | ".join(contenders)
        + " | over plain | over the best other | of the peak |",
        "|---|---|" + "---:|" * (len(contenders) + 3),
    ]  # fmt: skip
    for t in timings:
        cells = [f"{1e3 * t.seconds[c]:.1f}" if c in t.seconds else "-" for c in contenders]
        over = f"{t.seconds[PLAIN] / t.ours:.2f}x", f"{t.seconds[t.best_other] / t.ours:.2f}x"
        share = "-" if t.gflop is None else f"{100 * t.gflop / t.ours / peak:.0f}%"
        row = [t.model, f"{t.batch}x{t.seq}", *cells, *over, share]
        lines.append("| " + " | ".join(row) + " |")
    lines.append("")
    for batch, seq in SHAPES:
        here = [t for t in timings if (t.batch, t.seq) == (batch, seq)]
        for level in _OURS:
            plain, other = (
                statistics.geometric_mean(t.seconds[beside] / t.seconds[level] for t, beside in of)
                for of in ([(t, PLAIN) for t in here], [(t, t.best_other) for t in here])
            )
            lines.append(
                f"{batch}x{seq}, {level}: {plain:.2f}x the plain export, {other:.2f}x the best "
                "other, in the geometric mean"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
