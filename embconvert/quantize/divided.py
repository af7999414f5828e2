"""Activations in the graph, divided as their treatments say."""

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
    """Adds to a graph what divides its activations, once for all products with one.

    Args:
        surgery: Has the graph.
        treatments: By the activation's name; activations that are tied have the same.
    """

    def __init__(self, surgery: Surgery, treatments: Mapping[str, Treatment]) -> None:
        self._surgery = surgery
        self._treatments = treatments
        self._divided: dict[str, ir.Value] = {}
        self._split: dict[str, ir.Value] = {}

    def treatment(self, product: Product) -> Treatment:
        """Returns that of the activation."""
        return self._treatments.get(product.activation, Treatment())

    def divided(self, product: Product) -> "ir.Value":
        """Returns the activation, (..., inner) float32: zero where a channel is split off."""
        editor, node, name = self._surgery.editor, product.node, product.activation
        factors = self.treatment(product).factors
        if factors is not None and name not in self._divided:
            # Multiplying a whole activation is quicker than dividing it.
            reciprocal = editor.constant(1 / factors, "smoothing")
            self._divided[name] = editor.add("Mul", [node.inputs[0], reciprocal], node)
        value = self._divided.get(name) or node.inputs[0]
        assert value is not None
        return value

    def with_split(self, product: Product, result: "ir.Value") -> "ir.Value":
        """Returns a product's result with that of the channels that are split off added."""
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
        """Returns the weights of the channels that are split off, (channels, rows) float32."""
        import onnx_ir as ir

        matrix = product.matrix

        def make() -> list[npt.NDArray[Any]]:
            return [matrix.columns(channels)]

        shape = (len(channels), matrix.shape[0])
        return self._surgery.weights(f"{matrix.name}_split", make, (ir.DataType.FLOAT, shape))[0]
