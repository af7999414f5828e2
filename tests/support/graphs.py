"""Small graphs with weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime

from embconvert.graph.onnx_file import write_model
from embconvert.models.recipes import QuantizeOptions, Recipe
from embconvert.models.values import OnnxArtifact
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


def embedding_model(path: Path, *, tokens: int = 40, weights_apart: bool = False) -> OnnxArtifact:
    """Writes a graph of token vectors with positions, and their masked mean.

    Its inputs are (batch, seq); it computes sizes in the graph, as exporters do.

    Args:
        tokens: Rows of its table.
        weights_apart: Whether its table is in another file.
    """
    made = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (int64[batch, seq] input_ids, int64[batch, seq] attention_mask)
          => (float[batch, seq, 8] last_hidden_state, float[batch, 8] sentence_embedding) {
            sizes = Shape(input_ids)
            zero = Constant<value = int64 {0}>()
            one = Constant<value = int64 {1}>()
            minus = Constant<value = int64[1] {-1}>()
            axis = Constant<value = int64[1] {1}>()
            seq_size = Gather(sizes, one)
            places = Range(zero, seq_size, one)
            words = Gather(table, input_ids)
            positions = Gather(places_table, places)
            summed = Add(words, positions)
            flat = Reshape(summed, rows)
            product = MatMul(flat, square)
            wanted = Concat<axis = 0>(sizes, minus)
            last_hidden_state = Reshape(product, wanted)
            mask = Cast<to = 1>(attention_mask)
            wide = Unsqueeze(mask, minus)
            kept = Mul(last_hidden_state, wide)
            total = ReduceSum<keepdims = 0>(kept, axis)
            count = ReduceSum<keepdims = 0>(wide, axis)
            sentence_embedding = Div(total, count)
        }
        """
    )
    arrays = {
        "table": weights(tokens, 8), "places_table": weights(32, 8), "square": weights(8, 8),
        "rows": np.array([-1, 8]),
    }  # fmt: skip
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
    )
    threshold = 0 if weights_apart else None
    return write_model(ir.from_proto(made), path, external_data_threshold_bytes=threshold)


def scoring_model(path: Path) -> OnnxArtifact:
    """Writes a graph as of a generative reranker: the difference of two logits of the last token.

    Its input is (batch, seq).
    """
    made = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (int64[batch, seq] input_ids) => (float[batch, 1] logits) {
            last = Constant<value = int64 {-1}>()
            zero = Constant<value = int64[1] {0}>()
            one = Constant<value = int64[1] {1}>()
            two = Constant<value = int64[1] {2}>()
            words = Gather(table, input_ids)
            scores = MatMul(words, head)
            pair = Gather<axis = 1>(scores, last)
            yes = Slice(pair, one, two, one)
            no = Slice(pair, zero, one, one)
            logits = Sub(yes, no)
        }
        """
    )
    arrays = {"table": weights(40, 32), "head": np.ascontiguousarray(weights(3, 32)[1:].T)}
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
    )
    return write_model(ir.from_proto(made), path)
