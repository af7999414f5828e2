"""Small graphs in ONNX's text format, rewritten and run beside what they were."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime

from embconvert.rewrite import Rule, rewrite
from embconvert.rewrite.editing import OLDEST_OPSET, Editor

#: Rows and tokens to run with; also one of each, which hides what broadcasts wrongly.
SIZES = ((2, 7), (3, 5), (1, 4), (1, 1))


def parse(text: str, opset: int = 17) -> ir.Model:
    """Reads a graph: `g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { ... }`."""
    head = f'<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>\n'
    return ir.from_proto(onnx.parser.parse_model(head + text))


def apply(text: str, *rules: Rule, opset: int = 17, tolerance: float = 1e-5) -> Editor:
    """Rewrites a graph, checks that it computes the same as before and is at rest."""
    plain, model = parse(text, opset), parse(text, opset)
    editor = rewrite(model, rules)
    assert_same(plain, model, tolerance)
    if editor.opset >= OLDEST_OPSET:
        assert not any(rule(Editor(model)) for rule in rules), "a second time changed something"
    return editor


def operators(editor: Editor) -> Counter[str]:
    """Counts a graph's operators."""
    return Counter(node.op_type for node in editor.graph)


def assert_same(plain: ir.Model, other: ir.Model, tolerance: float = 1e-5) -> None:
    """Runs both on random numbers, with every size of SIZES."""
    sessions = [_session(model) for model in (plain, other)]
    for batch, seq in SIZES:
        feed = random_feed(sessions[0], {"batch": batch, "seq": seq})
        wanted, found = (session.run(None, feed) for session in sessions)
        for a, b in zip(wanted, found, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(b, a, atol=tolerance, rtol=1e-4)


def _session(model: ir.Model) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The graph itself is what is tested.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)


def random_feed(session: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Returns inputs; masks (int64) have a row without padding, and one of nothing else."""
    random = np.random.default_rng(0)
    feed: dict[str, Any] = {}
    for value in session.get_inputs():
        shape = [sizes.get(size, size) for size in value.shape]
        if value.type == "tensor(float)":
            feed[value.name] = random.standard_normal(shape).astype(np.float32)
        else:
            mask = random.integers(0, 2, shape)
            mask[0], mask[1:2] = 1, 0
            feed[value.name] = mask
    return feed
