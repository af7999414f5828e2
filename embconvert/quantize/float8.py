"""8-bit floating-point weights: four bits of exponent, three of mantissa.

ONNX Runtime's CPU provider has no product for this type, but it has a cast. The cast of a constant
runs once, when a graph is loaded: the file is a quarter of float32's, time and memory are the same.
(DequantizeLinear would run every time, and take 20 times as long as the product for 16 tokens.) No
activation is rounded, so embeddings are accurate and do not depend on the batch. A lookup does not
support the type, so tables are 8-bit integers with one scale per row.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.models.compat import FLOAT8_OPSET
from embconvert.quantize.blocks import FloatArray, reciprocals
from embconvert.quantize.integers import replace_lookup
from embconvert.quantize.products import Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

if TYPE_CHECKING:
    import onnx_ir as ir

# The first IR version with the type.
_IR_VERSION = 9
# The largest number of the type.
_LARGEST = 448.0


def float8(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """QFLOAT8E4M3FN: weights only.

    An older opset of the graph is converted to the first one with the type.
    """
    surgery = Surgery(path, opset=FLOAT8_OPSET, ir_version=_IR_VERSION)
    for product in surgery.products():
        _replace_product(surgery, product, per_channel=settings.options.per_channel)
    for lookup in surgery.lookups():
        replace_lookup(surgery, lookup, row_scales=True)
    return surgery.finished()


def _replace_product(surgery: Surgery, product: Product, *, per_channel: bool) -> None:
    import onnx_ir as ir

    editor, node, matrix = surgery.editor, product.node, product.matrix
    rows, inner = matrix.shape

    def make() -> list[npt.NDArray[Any]]:
        return list(rounded(matrix.rows(), per_channel=per_channel))

    numbers, scales = surgery.weights(
        matrix.name,
        make,
        (ir.DataType.FLOAT8E4M3FN, (inner, rows)),
        (ir.DataType.FLOAT, (rows,)),
    )
    weights = editor.add("Cast", [numbers], node, to=ir.DataType.FLOAT)
    weights = editor.add("Mul", [weights, scales], node)
    result = editor.add("MatMul", [node.inputs[0], weights], node)
    if product.bias is not None:
        result = editor.add("Add", [result, product.bias], node)
    editor.replace(node.outputs[0], result)


def rounded(weights: FloatArray, *, per_channel: bool) -> tuple[npt.NDArray[Any], FloatArray]:
    """Rounds (rows, inner) float32 to (inner, rows) float8_e4m3fn and scales, (rows,) float32."""
    import onnx_ir as ir

    scales = np.abs(weights).max(axis=1) / np.float32(_LARGEST)
    if not per_channel:
        scales[:] = scales.max(initial=0)
    scaled = np.clip(weights * reciprocals(scales)[:, None], -_LARGEST, _LARGEST)
    return np.ascontiguousarray(scaled.T).astype(ir.DataType.FLOAT8E4M3FN.numpy()), scales
