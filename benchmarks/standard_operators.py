"""Measures what `--operators standard` costs: two folders of one model, without and with it.

    PYTHONPATH=. python benchmarks/standard_operators.py models/MODEL standard/MODEL

Times are those of one thread's processor time, so that other work on the machine counts little.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 7
SHAPES = ((1, 16), (8, 64), (4, 256))


def milliseconds(path: Path) -> list[float]:
    """Returns the lower quartile of a graph's time for a batch of each shape."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    return [quartile(session, *shape) for shape in SHAPES]


def quartile(session: Any, batch: int, tokens: int) -> float:
    ids = np.random.default_rng(0).integers(1000, 20_000, (batch, tokens))
    feed = {
        i.name: ids if i.name == "input_ids" else np.ones_like(ids) for i in session.get_inputs()
    }
    if "token_type_ids" in feed:
        feed["token_type_ids"] = np.zeros_like(ids)
    session.run(None, feed)
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        session.run(None, feed)
        times.append(1000 * (time.process_time() - start))
    return float(np.quantile(times, 0.25))


def main() -> None:
    usual, standard = map(Path, sys.argv[1:])
    head = [f"{batch}x{tokens}" for batch, tokens in SHAPES]
    print(f"| file | {' | '.join(f'{h}, any | {h}, standard' for h in head)} |")
    print("|---" * (1 + 2 * len(head)) + "|")
    for path in sorted((standard / "onnx").glob("model_opt1*.onnx")):
        times = zip(milliseconds(usual / "onnx" / path.name), milliseconds(path), strict=True)
        cells = [f"{any_:.1f} ms | {ours:.1f} ms" for any_, ours in times]
        print(f"| {path.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
