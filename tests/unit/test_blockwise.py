"""Blockwise weights beside ONNX Runtime's kernels and its own tool."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from graphs import results, table_and_products, two_layers, weights
from onnx import TensorProto, helper, numpy_helper

from embconvert.graph.mapped_tensors import MappedTensor
from embconvert.graph.onnx_file import read_artifact, write_model
from embconvert.models.choices import QuantizeOptions, Recipe
from embconvert.quantize import blocks
from embconvert.quantize.blocks import BlockFormat, Blocks, dequantize_blocks, quantize_blocks
from embconvert.quantize.blockwise import blockwise_4, blockwise_8
from embconvert.quantize.settings import QuantizeSettings

RANDOM = np.random.default_rng(0)
# Whole blocks, a padded one, less than one.
INNER_SIZES = [64, 80, 20]


def run(nodes: list[object], feed: dict[str, np.ndarray], **initializers: np.ndarray) -> np.ndarray:
    """Runs nodes on ONNX Runtime; the last one's output is y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
         for n, v in feed.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, n) for n, v in initializers.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(None, feed)[0])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inner", INNER_SIZES)
@pytest.mark.parametrize("part", [1, 96, 1 << 18])
def test_a_matrix_that_lies_transposed_is_rounded_alike_however_little_is_read_at_a_time(
    bits: int, inner: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, form = np.random.default_rng(1), BlockFormat(bits=bits, block_size=16)
    drawn = random.standard_normal((48, inner), dtype=np.float32)
    factors = random.random(inner, dtype=np.float32) + 0.5
    expected = quantize_blocks(drawn * factors, form)
    monkeypatch.setattr(blocks, "CHUNK", part)
    for found in (
        quantize_blocks(drawn, form, factors=factors),
        quantize_blocks(np.ascontiguousarray(drawn.T), form, transposed=True, factors=factors),
    ):
        np.testing.assert_array_equal(found.packed, expected.packed)
        np.testing.assert_array_equal(found.scales, expected.scales)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inner", INNER_SIZES)
def test_matmulnbits_multiplies_with_the_weights_that_the_blocks_stand_for(
    bits: int, inner: int
) -> None:
    form = BlockFormat(bits=bits, block_size=32)
    blocks = quantize_blocks(weights(48, inner), form)
    node = helper.make_node(
        "MatMulNBits", ["x", "b", "scales"], ["y"], domain="com.microsoft",
        K=inner, N=48, bits=bits, block_size=32, accuracy_level=1,
    )  # fmt: skip
    x = RANDOM.standard_normal((3, inner), dtype=np.float32)
    y = run([node], {"x": x}, b=blocks.packed, scales=blocks.scales)
    np.testing.assert_allclose(y, x @ dequantize_blocks(blocks, form, inner).T, atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inner", INNER_SIZES)
def test_it_does_not_matter_how_a_matrix_lies(bits: int, inner: int) -> None:
    form, matrix = BlockFormat(bits=bits, block_size=32), weights(48, inner)
    rows, columns = (
        quantize_blocks(laid, form) for laid in (matrix, np.ascontiguousarray(matrix.T).T)
    )
    np.testing.assert_array_equal(rows.packed, columns.packed)
    np.testing.assert_array_equal(rows.scales, columns.scales)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inner", INNER_SIZES)
def test_gatherblockquantized_reads_the_rows_that_the_blocks_stand_for(
    bits: int, inner: int
) -> None:
    form = BlockFormat(bits=bits, block_size=16)
    blocks = quantize_blocks(weights(10, inner), form)
    data = blocks.packed.reshape(10, -1)[:, : inner * bits // 8]
    node = helper.make_node(
        "GatherBlockQuantized", ["data", "ids", "scales"], ["y"], domain="com.microsoft",
        bits=bits, block_size=16, gather_axis=0, quantize_axis=1,
    )  # fmt: skip
    ids = np.array([[0, 3], [9, 3]])
    y = run([node], {"ids": ids}, data=np.ascontiguousarray(data), scales=blocks.scales)
    np.testing.assert_array_equal(y, dequantize_blocks(blocks, form, inner)[ids])


def of_their_tool(drawn: np.ndarray, form: BlockFormat) -> Blocks:
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        DefaultWeightOnlyQuantizer,
    )

    config = DefaultWeightOnlyQuantConfig(
        block_size=form.block_size, is_symmetric=True, bits=form.bits
    )
    packed, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(
        np.ascontiguousarray(drawn.T)
    )
    shape = (len(drawn), form.blocks(drawn.shape[1]))
    return Blocks(packed=packed.reshape(*shape, form.block_bytes), scales=scales.reshape(shape))


@pytest.mark.parametrize("inner", [64, 80])
def test_8_bits_are_rounded_as_onnx_runtimes_own_tool_does(inner: int) -> None:
    form = BlockFormat(bits=8, block_size=32)
    drawn = weights(48, inner)
    ours, theirs = quantize_blocks(drawn, form), of_their_tool(drawn, form)
    np.testing.assert_array_equal(ours.scales, theirs.scales)
    # What stands in the padding of a row's last block, nobody reads.
    np.testing.assert_array_equal(
        dequantize_blocks(ours, form, inner), dequantize_blocks(theirs, form, inner)
    )


@pytest.mark.parametrize("inner", [64, 80])
def test_4_bits_are_nearer_in_every_block_than_with_their_tool(inner: int) -> None:
    form = BlockFormat(bits=4, block_size=16)
    drawn = weights(48, inner)
    ours, theirs = (
        np.square(dequantize_blocks(blocks, form, inner) - drawn).reshape(48, -1, 16).sum(axis=2)
        for blocks in (quantize_blocks(drawn, form), of_their_tool(drawn, form))
    )
    assert (ours <= theirs * 1.0001 + 1e-6).all()
    assert ours.sum() < 0.93 * theirs.sum()


SETTINGS = QuantizeSettings(
    options=QuantizeOptions(),
    calibration=lambda *_, **__: iter(()),
    work=Path("unused"),
)


def test_a_graph_keeps_its_results_and_shares_what_it_shared(tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx")
    written = write_model(blockwise_8(source.path, SETTINGS), tmp_path / "b.onnx")
    feed = {"ids": np.array([1, 7, 299])}
    expected, found = (
        onnxruntime.InferenceSession(str(a.path)).run(None, feed)[0] for a in (source, written)
    )
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert written.operators == {
        "Add": 1, "MatMul": 1, "com.microsoft.GatherBlockQuantized": 1,
        "com.microsoft.MatMulNBits": 3,
    }  # fmt: skip
    initializers = read_names(written.path)
    assert {n for n in initializers if "square" in n} == {
        "square_columns_quantized", "square_columns_scales",
    }  # fmt: skip
    assert {"table", "gemm"}.isdisjoint(initializers)
    assert {"batched", "bias"} <= initializers
    assert written.opset == source.opset == 17
    assert written.min_onnxruntime == "1.23"
    assert read_artifact(written.path) == written


def read_names(path: Path) -> set[str]:
    import onnx

    return {t.name for t in onnx.load(str(path)).graph.initializer}


def test_weights_are_read_when_the_file_is_written_and_each_once(tmp_path: Path) -> None:
    write_model(table_and_products(), tmp_path / "a.onnx")
    model = blockwise_8(tmp_path / "a.onnx", SETTINGS)
    lazy = [v.const_value for v in model.graph.initializers.values()]
    assert sum(isinstance(t, ir.LazyTensor) for t in lazy) == 6
    read: dict[str, list[int]] = {}
    read_all = MappedTensor.numpy

    def rows(tensor: MappedTensor, which: slice = slice(None)) -> np.ndarray:
        read.setdefault(tensor.name, []).extend(range(*which.indices(tensor.shape[0])))
        return np.asarray(read_all(tensor)[which])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MappedTensor, "numpy", rows)
        patch.setattr(MappedTensor, "rows", rows)
        write_model(model, tmp_path / "b.onnx")
    counts = {name: len(found) for name, found in read.items()}
    assert counts == {"table": 300, "square": 64, "gemm": 24}
    assert all(len(set(found)) == len(found) for found in read.values())


@pytest.mark.parametrize("quantize", [blockwise_8, blockwise_4])
def test_channels_that_dwarf_those_they_share_a_run_with_cost_less_by_each_recipe(
    quantize: Callable[[Path, QuantizeSettings], ir.Model], tmp_path: Path
) -> None:
    x, square = RANDOM.standard_normal((1, 20, 64), dtype=np.float32), weights(64, 64)
    x[..., 40] *= 60
    square[40] /= 60  # what reads it is small in turn

    def error(*recipes: Recipe) -> float:
        theirs, ours = results(two_layers(square), quantize, recipes, x, tmp_path)
        return float(np.abs(ours - theirs).mean() / np.abs(theirs).mean())

    plain = error()
    assert error(Recipe.SMOOTH) < 0.8 * plain
    assert error(Recipe.SPLIT) < 0.8 * plain
