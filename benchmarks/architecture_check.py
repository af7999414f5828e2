"""Exports and optimizes a tiny model in one process, and compares it with torch.

It takes seconds instead of the half minute of `embconvert batch`, and reads what that does not:
random tokens, padded on either side. It leaves out what surrounds the two stages.
"""

import multiprocessing
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

Result = dict[str, Any]
#: Texts, tokens, most padding; the shortest have no more than the parts of any architecture.
SHAPES = ((1, 1, 0), (3, 3, 1), (1, 5, 0), (3, 23, 4), (2, 41, 9), (4, 16, 15), (2, 100, 20))
#: Between two outputs, of the largest number in them.
LARGEST_DIFFERENCE = 1e-3
_MINUTES = 5


def check_apart(model: Path) -> Result:
    """Checks a model in a process of its own, which may crash or take too long.

    torch must have one thread: a forked process has none of the others, and would wait for them.
    """
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_put, args=(model, results))
    child.start()
    child.join(_MINUTES * 60)
    if child.is_alive():
        child.kill()
        return {"status": "failed", "code": 1, "error": f"it takes more than {_MINUTES} minutes"}
    if results.empty():
        return {"status": "failed", "code": 1, "error": f"the process ends by {child.exitcode}"}
    found: Result = results.get()
    return found


def _put(model: Path, results: "SimpleQueue[Result]") -> None:
    from embconvert.errors import EmbconvertError

    try:
        results.put(check(model))
    except EmbconvertError as error:
        results.put({"status": "failed", "code": error.exit_code, "error": error.message})
    except Exception as error:  # noqa: BLE001 - whatever the libraries raise is the result
        results.put({"status": "failed", "code": 1, "error": f"{type(error).__name__}: {error}"})


def check(model: Path) -> Result:
    """Returns what the page needs of a model.

    Raises:
        EmbconvertError: It cannot be loaded or exported.
    """
    from embconvert.graph.onnx_file import read_artifact
    from embconvert.models.choices import OptimizationLevel
    from embconvert.rewrite.optimizer import Optimizer, optimize
    from support.exports import export, load

    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work / "model").symlink_to(model.resolve())
        source = load(work / "model")
        started = time.monotonic()
        plain = export(source, work / "plain.onnx")
        made = optimize(
            read_artifact(plain), work / "optimized.onnx",
            level=OptimizationLevel.BASIC, optimizer=Optimizer.FUSION,
            skip_shape_inference=False, work=work,
        )  # fmt: skip
        seconds = time.monotonic() - started
        largest = max(difference(source, work / f"{name}.onnx") for name in ("plain", "optimized"))
    found = {
        "by": "check", "exporter": "trace", "difference": largest, "seconds": seconds,
        "fusions": [
            {"kind": f.kind, "fused": f.fused, "left": dict(f.left)} for f in made.fusions
        ],
    }  # fmt: skip
    if not largest <= LARGEST_DIFFERENCE:
        return {"status": "failed", "code": 6, "error": f"its outputs differ by {largest:.1e}"}
    return {"status": "converted", **found}


def difference(source: Any, graph: Path) -> float:
    """Returns how far any embedding is from torch's, as a part of the largest number."""
    import numpy as np
    import onnxruntime
    import torch

    from support.exports import random_feed

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options)
    traced, random, found = source.traced_module(), np.random.default_rng(0), [0.0]
    for texts, tokens, padding in SHAPES:
        for left in (False, True):
            feed = random_feed(random, texts, tokens, padding, left=left)
            with torch.no_grad():
                wanted = traced(*(torch.tensor(feed[n]) for n in source.sample_features()))[-1]
            (output,) = session.run(
                ["sentence_embedding"], {i.name: feed[i.name] for i in session.get_inputs()}
            )
            found.append(float(np.abs(output - wanted.numpy()).max() / wanted.abs().max()))
    return max(found) if np.isfinite(found).all() else float("inf")
