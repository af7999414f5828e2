"""Sizes that are found out are those that a run gives."""

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.rewrite.facts import Facts
from embconvert.rewrite.sizes import Size
from support.rewriting import parse

#: (what is computed of x (batch, seq, 8) and m (batch, seq) int64, its sizes)
GRAPHS = [
    ("h = Constant<value = int64[4] {0, 0, 2, -1}>() y = Reshape(x, h)", "batch seq 2 4"),
    ("h = Constant<value = int64[2] {-1, 8}>() y = Reshape(x, h)", "batch*seq 8"),
    ("y = Flatten<axis = 2>(x)", "batch*seq 8"),
    ("y = Transpose<perm = [2, 0, 1]>(x)", "8 batch seq"),
    ("t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(x, t)", "batch seq seq"),
    ("a = Constant<value = int64[2] {0, -1}>() y = Unsqueeze(x, a)", "1 batch seq 8 1"),
    ("y = ReduceMean<axes = [-1], keepdims = 0>(x)", "batch seq"),
    ("y = ReduceMean<axes = [1]>(x)", "batch 1 8"),
    ("y = Concat<axis = -1>(x, x)", "batch seq 16"),
    ("y, z = Split<axis = -1>(x)", "batch seq 4"),
    ("i = Constant<value = int64[1] {0}>() y = Gather<axis = 1>(x, i)", "batch 1 8"),
    ("""s = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {-1}>()
        a = Constant<value = int64[1] {2}>() y = Slice(x, s, e, a)""", "batch seq 6"),
    ("""all = Shape(x) i = Constant<value = int64 {1}>() s = Gather(all, i)
        zero = Constant<value = int64 {0}>() one = Constant<value = int64 {1}>()
        y = Range(zero, s, one)""", "seq"),
    ("""all = Shape(x) i = Constant<value = int64 {1}>() s = Gather(all, i)
        two = Constant<value = int64 {2}>() d = Mul(s, two) half = Div(d, two)
        zero = Constant<value = int64[1] {0}>() v = Unsqueeze(half, zero)
        eight = Constant<value = int64[1] {8}>() b = Constant<value = int64[1] {-1}>()
        h = Concat<axis = 0>(b, v, eight) y = Reshape(x, h)""", "batch seq 8"),
    ("""all = Shape(x) minus = Constant<value = int64[3] {-1, -1, 8}>() same = Equal(all, minus)
        y = Where(same, all, all)""", "3"),
    ("""w = Constant<value = float[3, 1, 3] {1, 1, 1, 1, 1, 1, 1, 1, 1}>()
        s = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {3}>()
        a = Constant<value = int64[1] {2}>() p = Slice(x, s, e, a)
        t = Transpose<perm = [0, 2, 1]>(p) y = Conv<group = 3, pads = [1, 1]>(t, w)""",
     "batch 3 seq"),
    ("""t = Transpose<perm = [0, 2, 1]>(x)
        y = MaxPool<kernel_shape = [3], pads = [1, 1]>(t)""", "batch 8 seq"),
    ("k = Constant<value = int64[1] {2}>() y, i = TopK(x, k)", "batch seq 2"),
    ("p = Constant<value = int64[6] {0, 0, 1, 0, 0, 2}>() y = Pad(x, p)", "batch seq 11"),
    ("r = Flatten<axis = 2>(x) w = Constant<value = float[1, 8] {1, 1, 1, 1, 1, 1, 1, 1}>() "
     "y = Gemm<transB = 1>(r, w)", "batch*seq 1"),
    ("y = Softplus(x)", "batch seq 8"),
    ("""c = Constant<value = float {2.0}>() y = Mul(c, x)""", "batch seq 8"),
    ("""one = Constant<value = int64[1] {1}>() u = Unsqueeze(m, one) k = Cast<to = 1>(u)
        a = Constant<value = int64[1] {0}>() all = Shape(m) s = Slice(all, one, one)
        y = ReduceSum<keepdims = 0>(k, one)""", "batch seq"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "sizes"), GRAPHS)
def test_sizes_are_those_of_a_run(body: str, sizes: str) -> None:
    text = "g (float[batch, seq, 8] x, int64[batch, seq] m) => (float y) {" + body + "}"
    model = parse(text)
    output = model.graph.outputs[0]
    shape = Facts(model.graph).shape(output)
    assert shape is not None
    assert " ".join(map(str, shape)) == sizes
    for batch, seq in ((2, 5), (1, 1)):
        assert run(model, batch, seq).shape == tuple(value(s, batch, seq) for s in shape)


def run(model: ir.Model, batch: int, seq: int) -> Any:
    proto = ir.to_proto(model)
    proto.graph.output[0].ClearField("type")  # ONNX Runtime finds the type itself
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    feed = {
        "x": np.zeros((batch, seq, 8), np.float32),
        "m": np.ones((batch, seq), np.int64),
    }
    return session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})[0]


def value(size: Size, batch: int, seq: int) -> int:
    axes = {"batch": batch, "seq": seq}
    return sum(f * int(np.prod([axes[n] for n in names])) for names, f in size.terms)


def test_without_inference_only_declared_sizes_are_known() -> None:
    text = "g (float[batch, seq, 8] x) => (float y) { z = Neg(x) y = Abs(z) }"
    model = parse(text)
    facts = Facts(model.graph, infer_sizes=False)
    assert facts.shape(model.graph.inputs[0]) is not None
    assert facts.shape(model.graph.node(0).outputs[0]) is None
