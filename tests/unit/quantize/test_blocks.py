"""Blocks beside ONNX Runtime's kernels and its own tool."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.blocks import BlockFormat, Blocks, dequantize_blocks, quantize_blocks
from embconvert.quantize.float8 import rounded as rounded_float8
from embconvert.quantize.gptq import gptq_blocks, gptq_channels
from embconvert.quantize.integers import rounded_matrix
from embconvert.quantize.limits import weight_limits
from embconvert.quantize.moments import Moments
from embconvert.quantize.treatments import Treatment
from support.graphs import weights

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
@pytest.mark.parametrize("chunk", [1, 96, 1 << 18])
def test_a_matrix_that_lies_transposed_is_rounded_alike_however_little_is_read_at_a_time(
    bits: int, inner: int, chunk: int
) -> None:
    random, form = np.random.default_rng(1), BlockFormat(bits=bits, block_size=16)
    drawn = random.standard_normal((48, inner), dtype=np.float32)
    factors = random.random(inner, dtype=np.float32) + 0.5
    expected = quantize_blocks(drawn * factors, form)
    lying = np.ascontiguousarray(drawn.T)
    for found in (
        quantize_blocks(drawn, form, factors=factors, chunk=chunk),
        quantize_blocks(lying, form, transposed=True, factors=factors, chunk=chunk),
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


#: As of units that training no longer uses: the reciprocal of their scale is no float32.
SIZES = [0.0, 1e-45, 1e-42, 1e-38, 1e-37, 1e-36]
NOTHING = Moments((np.zeros((64, 64), np.float32),))
LIMITS = weight_limits(QuantizeOptions(reduce_range=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.filterwarnings("error")
def test_weights_of_nearly_zero_remain_so(size: float) -> None:
    matrix = np.ones((3, 64), np.float32)
    matrix[1] = RANDOM.standard_normal(64) * size
    matrix[1, :4] = 0
    scale = np.abs(matrix).max(axis=1) / np.float32(127)

    for bits in (4, 8):
        form = BlockFormat(bits=bits, block_size=32)
        for blocks in (quantize_blocks(matrix, form), gptq_blocks(matrix, form, NOTHING)):
            assert np.abs(dequantize_blocks(blocks, form, 64) - matrix).max() < 0.2
    for integers in (
        gptq_channels(matrix, scale, LIMITS, NOTHING),
        rounded_matrix(matrix, Treatment(), QuantizeOptions())[0],
    ):
        assert np.abs(integers[1] * scale[1] - matrix[1]).max() <= 1e-35
    numbers, scales = rounded_float8(matrix, per_channel=True)
    assert np.abs(numbers.T[1].astype(np.float32) * scales[1] - matrix[1]).max() <= 1e-35
