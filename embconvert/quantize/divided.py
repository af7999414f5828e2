"""Adds to a graph the shift, division and splitting of activations that their treatments define."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.quantize.products import Product
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import Treatment

if TYPE_CHECKING:
    import onnx_ir as ir


class DividedActivations:
    """Shifts and divides activations, once for all products of an activation."""

    def __init__(self, surgery: Surgery, treatments: Mapping[str, Treatment]) -> None:
        self._surgery = surgery
        self._treatments = treatments
        self._divided: dict[str, ir.Value] = {}
        self._split: dict[str, ir.Value] = {}

    def treatment(self, product: Product) -> Treatment:
        return self._treatments.get(product.activation, Treatment())

    def divided(self, product: Product) -> "ir.Value":
        """Returns the shifted and divided activation, (..., inner) float32."""
        editor, node, name = self._surgery.editor, product.node, product.activation
        treatment = self.treatment(product)
        if name not in self._divided:
            value = node.inputs[0]
            assert value is not None
            if treatment.offsets is not None:
                value = editor.add(
                    "Sub", [value, editor.constant(treatment.offsets, "shift")], node
                )
            if treatment.factors is not None:
                # Multiplication of a whole activation is faster than division.
                reciprocal = editor.constant(1 / treatment.factors, "smoothing")
                value = editor.add("Mul", [value, reciprocal], node)
            self._divided[name] = value
        return self._divided[name]

    def with_split(self, product: Product, result: "ir.Value") -> "ir.Value":
        """Returns a product's result plus that of the split channels."""
        editor, node, name = self._surgery.editor, product.node, product.activation
        channels = self.treatment(product).split
        if not channels:
            return result
        if name not in self._split:
            indices = editor.constant(np.array(channels, np.int64), "split")
            self._split[name] = editor.add("Gather", [node.inputs[0], indices], node, axis=-1)
        apart = editor.add("MatMul", [self._split[name], self._weights(product, channels)], node)
        return editor.add("Add", [result, apart], node)

    def _weights(self, product: Product, channels: list[int]) -> "ir.Value":
        """Returns the weights of the split channels, (channels, rows) float32."""
        import onnx_ir as ir

        matrix = product.matrix

        def make() -> list[npt.NDArray[Any]]:
            return [matrix.columns(channels)]

        shape = (len(channels), matrix.shape[0])
        return self._surgery.weights(f"{matrix.name}_split", make, (ir.DataType.FLOAT, shape))[0]
