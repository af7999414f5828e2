"""Quantized weights in standard operators; they stay quantized in the file.

Products of blocks become `DequantizeLinear` before `MatMul`, which ONNX Runtime fuses again. Other
forms of 4-bit integers cannot be looked up, so tables keep two of them per byte, and only the rows
that are read are unpacked.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.rewrite.editing import Editor
from embconvert.rewrite.standard.values import NoStandardForm, floats_of, given, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[Any]


def integer_product(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns the product of two matrices of 8-bit integers, and its sum with a bias.

    A product of two DequantizeLinear becomes an integer product again in ONNX Runtime and in
    OpenVINO, but only with constant scales.
    """
    a, b, a_scale, b_scale = (given(node, index) for index in range(4))
    a_zero, b_zero, bias = (_optional(node, index) for index in (4, 5, 6))
    if a_scale.const_value is not None and b_scale.const_value is not None:
        numbers = editor.add("DequantizeLinear", [a, a_scale, a_zero], node)
        matrix = _matrix_of_channels(editor, node, b, b_scale, b_zero)
        result = editor.add("MatMul", [numbers, matrix], node)
    else:
        result = editor.add("MatMulInteger", [a, b, a_zero, b_zero], node)
        result = editor.add("Cast", [result], node, to=int(floats_of(editor, a_scale)))
        scale = editor.add("Mul", [a_scale, b_scale], node)
        result = editor.add("Mul", [result, scale], node)
    return result if bias is None else editor.add("Add", [result, bias], node)


def _matrix_of_channels(
    editor: Editor,
    node: "ir.Node",
    integers: "ir.Value",
    scales: "ir.Value",
    zero: "ir.Value | None",
) -> "ir.Value":
    """Returns a matrix with one scale for all or per column, which share a zero point."""
    assert scales.const_value is not None
    columns = scales.const_value.shape.numpy()
    if zero is not None and columns:
        if zero.const_value is None or zero.const_value.size != 1:
            raise NoStandardForm("its weights have several zero points")
        known = zero.const_value.numpy()
        zero = editor.constant(np.full(columns, known.item(), known.dtype), "zero_points")
    if not columns:
        return editor.add("DequantizeLinear", [integers, scales, zero], node)
    return editor.add("DequantizeLinear", [integers, scales, zero], node, axis=1)


def block_product(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns the product with a matrix, (inner, rows), in blocks along its first axis."""
    import onnx_ir as ir

    x, packed, scales = (given(node, index) for index in range(3))
    number = node.attributes.get_int
    inner, rows, bits = number("K", 0), number("N", 0), number("bits", 4)
    if bits not in (4, 8):
        raise NoStandardForm(f"its weights have {bits} bits")

    def integers(array: Array) -> Array:
        found = array.reshape(rows, -1)
        if bits == 8:
            return np.ascontiguousarray((found[:, :inner] ^ 0x80).view(np.int8).T)
        apart = np.stack([found & 15, found >> 4], axis=-1).reshape(rows, -1)[:, :inner]
        return _two_per_byte(np.ascontiguousarray(apart.T) ^ 8)

    weights = _derived(
        editor,
        packed,
        integers,
        ir.DataType.INT8 if bits == 8 else ir.DataType.INT4,
        (inner, rows),
    )
    blocks = -(-inner // number("block_size", 32))
    steps = _derived(
        editor,
        scales,
        lambda array: np.ascontiguousarray(array.reshape(rows, blocks).T),
        _dtype(scales),
        (blocks, rows),
    )
    matrix = editor.add(
        "DequantizeLinear", [weights, steps], node, axis=0, block_size=number("block_size", 32)
    )
    return editor.add("MatMul", [x, matrix], node)


def _two_per_byte(integers: Array) -> Array:
    """Packs 4-bit integers, the first in the low half of a byte."""
    flat = integers.reshape(-1)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: Array = flat[::2] | flat[1::2] << np.uint8(4)
    return packed


def block_lookup(editor: Editor, node: "ir.Node") -> "ir.Value":
    """Returns rows of a table of integers with a scale per block."""
    import onnx_ir as ir

    table, indices, scales = (given(node, index) for index in range(3))
    number = node.attributes.get_int
    bits, block = number("bits", 4), number("block_size", 128)
    if number("gather_axis", 0) != 0 or number("quantize_axis", 1) != 1 or bits not in (4, 8):
        raise NoStandardForm("it does not look up rows of 4 or 8 bits")
    rank = editor.facts.rank(indices)
    if rank is None or _dtype(table) is not ir.DataType.UINT8:
        raise NoStandardForm("the shape of its indices or the type of its table is unknown")
    (rows, row_bytes), (_, blocks) = _shape(table), _shape(scales)
    inner, block_bytes, per_byte = row_bytes * 8 // bits, block * bits // 8, 8 // bits

    def whole_blocks(array: Array) -> Array:
        missing = blocks * block_bytes - row_bytes
        return np.pad(array, ((0, 0), (0, missing))).reshape(rows, blocks, block_bytes, 1)

    packed = _derived(
        editor, table, whole_blocks, ir.DataType.UINT8, (rows, blocks, block_bytes, 1)
    )
    steps = _derived(
        editor,
        scales,
        lambda a: a.reshape(rows, blocks, 1, 1),
        _dtype(scales),
        (rows, blocks, 1, 1),
    )
    floats = _dtype(scales)
    row = editor.add("Gather", [packed, indices], node, axis=0)
    row = editor.add("Cast", [row], node, to=int(floats))
    if per_byte == 2:
        row = _halves(editor, row, floats, node)
    middle = editor.constant(np.array(1 << (bits - 1), floats.numpy()), "middle")
    row = editor.add("Sub", [row, middle], node)
    row = editor.add("Mul", [row, editor.add("Gather", [steps, indices], node, axis=0)], node)
    keep = [0] * rank
    row = editor.add("Reshape", [row, sizes(editor, *keep, blocks * block)], node)
    if blocks * block == inner:
        return row
    bounds = [sizes(editor, n) for n in (0, inner, -1)]
    return editor.add("Slice", [row, *bounds], node)


def _halves(
    editor: Editor, packed: "ir.Value", floats: "ir.DataType", node: "ir.Node"
) -> "ir.Value":
    """Returns the two 4-bit integers of each byte, along the last axis."""
    down, up = (editor.constant(np.array(n, floats.numpy()), "shift") for n in (1 / 16, 16))
    high = editor.add("Floor", [editor.add("Mul", [packed, down], node)], node)
    low = editor.add("Sub", [packed, editor.add("Mul", [high, up], node)], node)
    return editor.add("Concat", [low, high], node, axis=-1)


def _optional(node: "ir.Node", index: int) -> "ir.Value | None":
    return node.inputs[index] if index < len(node.inputs) else None


def _shape(value: "ir.Value") -> tuple[int, ...]:
    assert value.const_value is not None
    return tuple(value.const_value.shape.numpy())


def _dtype(value: "ir.Value") -> "ir.DataType":
    if value.const_value is None:
        raise NoStandardForm("its weights are not constant")
    return value.const_value.dtype


def _derived(
    editor: Editor,
    source: "ir.Value",
    change: Callable[[Array], Array],
    dtype: "ir.DataType",
    shape: tuple[int, ...],
) -> "ir.Value":
    """Returns a weight computed from another one when it is written; nodes share it."""
    import onnx_ir as ir

    tensor = source.const_value
    if tensor is None:
        raise NoStandardForm("its weights are not constant")
    name = f"{source.name}_standard"
    known = editor.graph.initializers.get(name)
    if known is not None:
        return known

    def make() -> "ir.TensorProtocol":
        array = change(tensor.numpy())
        if dtype.bitwidth < 8:
            return ir.PackedTensor(array, dtype, shape=ir.Shape(shape))
        return ir.Tensor(array, dtype=dtype)

    return editor.weight(ir.LazyTensor(make, dtype, shape=ir.Shape(shape), name=name))
