"""What a half-precision graph really holds in halves."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto


def open_alone(graph: Path | bytes) -> onnxruntime.InferenceSession:
    """Opens a tiny graph on one thread: more would only wait for each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph), sess_options=options
    )


def largest_half_values(path: Path, feeds: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the largest absolute value of each value that is float16, by name.

    ONNX Runtime's CPU kernels often compute halves in float32, and cast what is asked for only. As
    outputs of the graph all are cast, and what half precision cannot hold becomes infinite.
    """
    model = onnx.load(str(path))
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    constants = set(halves)
    for node in model.graph.node:
        if node.op_type == "Cast":
            is_half = node.attribute[0].i == TensorProto.FLOAT16
        elif node.op_type in ("Where", "RotaryEmbedding"):
            is_half = bool(halves & set(node.input))
        else:
            is_half = bool(node.input) and node.input[0] in halves and node.op_type != "Shape"
        if is_half:
            halves.update(filter(None, node.output))
    known = {output.name for output in model.graph.output}
    names = sorted(halves - constants - known)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_alone(model.SerializeToString())
    inputs = [value.name for value in session.get_inputs()]
    largest = dict.fromkeys(names, 0.0)
    for feed in feeds:
        found = session.run(names, {name: feed[name] for name in inputs})
        for name, values in zip(names, found, strict=True):
            assert values.dtype == np.float16, name
            largest[name] = max(largest[name], float(np.abs(values).max(initial=0)))
    return largest
