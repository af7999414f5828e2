"""Measures the kernels of ONNX Runtime's CPU provider that the rewrite rules choose between.

    make bench-kernels

Times are those of one thread's processor time, so that other work on the machine counts little;
the lower quartile of many runs.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RUNS = 40
_MICROSOFT = "com.microsoft"
_RANDOM = np.random.default_rng(0)

Graph = Callable[[], Any]


def node(kind: str, inputs: str, outputs: str, *, ours: bool = False, **attributes: Any) -> Any:
    """Returns a node; `-` stands for an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    domain = _MICROSOFT if ours else ""
    return helper.make_node(kind, names, outputs.split(), domain=domain, **attributes)


def session(nodes: Sequence[Any], feed: dict[str, Any], constants: dict[str, Any]) -> Any:
    """Opens a graph that is run as it is, on one thread."""
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "kernels",
        [helper.make_tensor_value_info(n, kinds[str(a.dtype)], None) for n, a in feed.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def compare(
    title: str, feed: dict[str, Any], ways: dict[str, tuple[Any, ...]], **constants: Any
) -> None:
    """Prints the times of several ways to compute the same."""
    sessions = {}
    for name, nodes in ways.items():
        read = {n for each in nodes for n in each.input}
        own = {n: a for n, a in feed.items() if n in read}
        known = {n: np.asarray(a) for n, a in constants.items() if n in read}
        sessions[name] = (session(nodes, own, known), own)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, (opened, own) in sessions.items():
            start = time.thread_time()
            opened.run(None, own)
            times[name].append(time.thread_time() - start)
    quartiles = {name: sorted(t)[len(t) // 4] for name, t in times.items()}
    first = next(iter(quartiles.values()))
    for name, seconds in quartiles.items():
        print(f"| {title} | {name} | {1e3 * seconds:.3f} | {seconds / first:.2f} |", flush=True)


def tensor(*sizes: int) -> Any:
    """Returns random numbers."""
    return _RANDOM.standard_normal(sizes).astype(np.float32)


def norms(tokens: int, width: int) -> None:
    """Residual and norm, apart or as one."""
    feed = {"x": tensor(1, tokens, width), "r": tensor(1, tokens, width)}
    weight, bias = np.ones(width, np.float32), tensor(width)
    compare(
        f"residual and LayerNorm, {tokens} tokens of {width}",
        feed,
        {
            "Sum, LayerNormalization": (
                node("Sum", "x r", "a"), node("LayerNormalization", "a w b", "y"),
            ),
            "SkipLayerNormalization": (
                node("SkipLayerNormalization", "x r w b", "y", ours=True, epsilon=1e-5),
            ),
        },
        w=weight, b=bias,
    )  # fmt: skip
    compare(
        f"residual and RMSNorm, {tokens} tokens of {width}",
        feed,
        {
            "Add, SimplifiedLayerNormalization": (
                node("Add", "x r", "a"), node("SimplifiedLayerNormalization", "a w", "y"),
            ),
            "SkipSimplifiedLayerNormalization": (
                node("SkipSimplifiedLayerNormalization", "x r w", "y", ours=True),
            ),
        },
        w=weight,
    )  # fmt: skip


def projections(tokens: int, width: int) -> None:
    """Queries, keys and values of one product or three, and biases within a product."""
    weight, bias = tensor(width, 3 * width), tensor(3 * width)
    feed = {"x": tensor(1, tokens, width)}
    parts = {f"w{i}": weight[:, i * width : (i + 1) * width] for i in range(3)}
    compare(
        f"Q, K and V, {tokens} tokens of {width}",
        feed,
        {
            "three MatMuls": (
                *(node("MatMul", f"x w{i}", f"p{i}") for i in range(3)),
                node("Sum", "p0 p1 p2", "y"),
            ),
            "one MatMul, Split": (
                node("MatMul", "x w", "p"), node("Split", "p", "p0 p1 p2", axis=-1),
                node("Sum", "p0 p1 p2", "y"),
            ),
        },
        w=weight, **parts,
    )  # fmt: skip
    compare(
        f"product and bias, {tokens} tokens, {width} to {3 * width}",
        {"x": feed["x"][0]},
        {
            "MatMul, Add": (node("MatMul", "x w", "p"), node("Add", "p b", "y")),
            "Gemm": (node("Gemm", "x w b", "y"),),
        },
        w=weight, b=bias,
    )  # fmt: skip


def attentions(batch: int, seq: int, heads: int, size: int) -> None:
    """Attention with a padding mask."""
    width = heads * size
    feed = {name: tensor(batch, seq, width) for name in "qkv"}
    feed |= {
        "bias": np.zeros((batch, 1, seq, seq), np.float32),
        "column": np.zeros((batch, seq, heads, 1), np.float32),
        "ones": np.ones((batch, seq, heads, 1), np.float32),
    }
    kind = {"num_heads": heads, "scale": size**-0.5}
    apart = [node("Reshape", f"{n} heads", f"{n}3") for n in "qkv"]
    compare(
        f"attention, {batch} x {seq}, {heads} heads of {size}",
        feed,
        {
            "MatMul, Mul, Add, Softmax, MatMul": (
                *apart,
                node("Transpose", "q3", "q4", perm=[0, 2, 1, 3]),
                node("Transpose", "k3", "k4", perm=[0, 2, 3, 1]),
                node("Transpose", "v3", "v4", perm=[0, 2, 1, 3]),
                node("MatMul", "q4 k4", "d"), node("Mul", "d scale", "s"),
                node("Add", "s bias", "m"), node("Softmax", "m", "p"),
                node("MatMul", "p v4", "o"), node("Transpose", "o", "t", perm=[0, 2, 1, 3]),
                node("Reshape", "t width", "y"),
            ),
            "MultiHeadAttention with a bias": (
                node("MultiHeadAttention", "q k v - - bias", "y", ours=True, **kind),
            ),
            "MultiHeadAttention with a padding column": (
                *apart[:2], node("Concat", "q3 ones", "q5", axis=-1),
                node("Concat", "k3 column", "k5", axis=-1),
                node("Reshape", "q5 wider", "q6"), node("Reshape", "k5 wider", "k6"),
                node("MultiHeadAttention", "q6 k6 v", "y", ours=True, **kind),
            ),
        },
        heads=np.array([0, 0, heads, size]), width=np.array([0, 0, width]),
        wider=np.array([0, 0, heads * (size + 1)]), scale=np.float32(size**-0.5),
    )  # fmt: skip


def projected_attention(batch: int, seq: int, heads: int, size: int) -> None:
    """Attention with the products before it, within the operator or outside."""
    width = heads * size
    weight, bias = tensor(width, 3 * width) / np.float32(width**0.5), tensor(3 * width)
    parts = {f"w{i}": weight[:, i * width : (i + 1) * width] for i in range(3)}
    parts |= {f"b{i}": bias[i * width : (i + 1) * width] for i in range(3)}
    feed = {
        "x": tensor(batch, seq, width),
        "mask": np.ones((batch, seq), np.int32),
        "bias": np.zeros((batch, 1, seq, seq), np.float32),
    }
    outside = [
        each
        for i in range(3)
        for each in (node("MatMul", f"x w{i}", f"m{i}"), node("Add", f"m{i} b{i}", f"p{i}"))
    ]
    compare(
        f"Q, K, V and attention, {batch} x {seq}, {heads} heads of {size}",
        feed,
        {
            "Attention": (node("Attention", "x w b mask", "y", ours=True, num_heads=heads),),
            "MatMuls, Adds, MultiHeadAttention": (
                *outside,
                node("MultiHeadAttention", "p0 p1 p2 - - bias", "y", ours=True, num_heads=heads),
            ),
        },
        w=weight, b=bias, **parts,
    )  # fmt: skip


def main() -> int:
    """Prints a line for each way."""
    print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}", file=sys.stderr)
    print("| what | how | ms | of the first |\n|---|---|---:|---:|")
    norms(2048, 384)
    norms(16, 384)
    norms(2048, 1024)
    projections(2048, 384)
    attentions(4, 512, 12, 32)
    attentions(16, 128, 12, 32)
    attentions(4, 512, 12, 64)
    attentions(32, 32, 12, 32)
    projected_attention(4, 512, 12, 32)
    projected_attention(32, 32, 12, 32)
    return 0


if __name__ == "__main__":
    sys.exit(main())
