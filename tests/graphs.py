"""Small graphs with weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import QuantizeOptions, Recipe
from embconvert.quantize.settings import QuantizeSettings


def weights(rows: int, inner: int) -> np.ndarray:
    """Draws a matrix whose first row is zero; always the same one of a shape."""
    drawn = np.random.default_rng((rows, inner)).standard_normal((rows, inner), dtype=np.float32)
    drawn[0] = 0  # a block without any range
    return drawn


def table_and_products() -> ir.Model:
    """Gather, then MatMul, Gemm with a transposed weight, and MatMul with the first's weight."""
    ids = ir.val("ids", dtype=ir.DataType.INT64, shape=["n"])
    arrays = {
        "table": weights(300, 64), "square": weights(64, 64), "gemm": weights(24, 64),
        "bias": weights(2, 24)[1], "batched": weights(2 * 24, 4).reshape(2, 24, 4),
    }  # fmt: skip
    values = {
        n: ir.Value(name=n, shape=ir.Shape(a.shape), type=ir.TensorType(ir.DataType.FLOAT),
                    const_value=ir.tensor(a, name=n))
        for n, a in arrays.items()
    }  # fmt: skip
    nodes = [ir.node("Gather", [values["table"], ids])]
    nodes += [ir.node("MatMul", [nodes[-1].outputs[0], values["square"]])]
    nodes += [ir.node("MatMul", [nodes[-1].outputs[0], values["square"]])]
    nodes += [
        ir.node("Gemm", [nodes[-1].outputs[0], values["gemm"], values["bias"]], {"transB": 1})
    ]
    nodes += [ir.node("MatMul", [nodes[-1].outputs[0], values["batched"]])]
    y = nodes[-1].outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape([2, "n", 4]), ir.DataType.FLOAT
    graph = ir.Graph([ids], [y], nodes=nodes, initializers=list(values.values()),
                     opset_imports={"": 17}, name="g")  # fmt: skip
    return ir.Model(graph, ir_version=8)


def two_layers(square: np.ndarray) -> ir.Model:
    """y = (x @ square) @ square, (1, n, 64)."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=[1, "n", 64])
    tensor = ir.tensor(square, name="square")
    weight = ir.Value(
        name="square", shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    first = ir.node("MatMul", [x, weight])
    second = ir.node("MatMul", [first.outputs[0], weight])
    y = second.outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape([1, "n", 64]), ir.DataType.FLOAT
    first.outputs[0].name = "between"
    graph = ir.Graph(
        [x], [y], nodes=[first, second], initializers=[weight], opset_imports={"": 17}, name="g"
    )
    return ir.Model(graph, ir_version=8)


def results(
    model: ir.Model,
    quantize: Callable[[Path, QuantizeSettings], ir.Model],
    recipes: tuple[Recipe, ...],
    x: np.ndarray,
    folder: Path,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a graph and its quantized form make of x, (1, tokens, channels).

    It is calibrated with x, too.
    """
    feed: dict[str, Any] = {"x": x, "attention_mask": np.ones(x.shape[:2], np.int64)}
    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes),
        calibration=lambda *_, **__: iter([feed]),
        work=folder,
    )
    plain = write_model(model, folder / "a.onnx").path
    quantized = write_model(quantize(plain, settings), folder / "b.onnx").path
    theirs, ours = (
        np.asarray(onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0])
        for path in (plain, quantized)
    )
    return theirs, ours
