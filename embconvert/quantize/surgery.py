"""Replaces the nodes of a graph that read weights; weights are lazy before and after."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.opset import at_least
from embconvert.quantize.attention import expose_attention_weights
from embconvert.quantize.products import Lookup, Product, find_lookups, find_products
from embconvert.rewrite.editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir

PartToStore = tuple["ir.DataType", Sequence[int]]


class Surgery:
    """A graph during quantization; nodes that share a weight share its replacement.

    `hollow` is the original onnx.ModelProto without its weights, and `model` the one to change.
    """

    def __init__(self, path: Path, *, opset: int = 0, ir_version: int = 0) -> None:
        """Reads a graph, and converts it to at least this opset and IR version."""
        self.path = path
        hollow, self.hollow_weights = hollow_out(read_model(path))
        self.hollow = at_least(hollow, opset, ir_version)
        # Weights inside fused attention could not be quantized.
        expose_attention_weights(self.hollow)
        self.model = fill(self.hollow, self.hollow_weights)
        self.editor = Editor(self.model)
        self._made: dict[str, list[ir.Value]] = {}

    def products(self) -> list[Product]:
        return list(find_products(self.model))

    def lookups(self) -> list[Lookup]:
        return list(find_lookups(self.model))

    def weights(
        self,
        name: str,
        make: Callable[[], Sequence[npt.NDArray[Any]]],
        *parts: PartToStore,
        names: Sequence[str] = ("quantized", "scales", "bias"),
    ) -> "list[ir.Value]":
        """Returns initializers that are computed together, when the first is written.

        Results are kept in memory until each was read once. Give the large one first, so that only
        the small ones remain.

        Args:
            name: Initializers of the same name are shared.
            make: Computes all of them.
            parts: Type and shape of each.
            names: What is added to the name of each.
        """
        import onnx_ir as ir

        if name not in self._made:
            waiting: dict[int, npt.NDArray[Any]] = {}

            def take(index: int) -> ir.Tensor:
                if index not in waiting:
                    waiting.update(enumerate(make()))
                return ir.Tensor(waiting.pop(index))

            self._made[name] = [
                self._initializer(
                    f"{name}_{names[index]}",
                    ir.LazyTensor(
                        lambda index=index: take(index),
                        dtype,
                        shape=ir.Shape(shape),
                    ),
                )
                for index, (dtype, shape) in enumerate(parts)
            ]
        return self._made[name]

    def _initializer(self, name: str, tensor: "ir.TensorProtocol") -> "ir.Value":
        import onnx_ir as ir

        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.model.graph.register_initializer(value)
        return value

    def reduce_max(self, value: "ir.Value", before: "ir.Node") -> "ir.Value":
        """Adds the maximum over the last axis, which is kept; opset 18 made axes an input."""
        if self.editor.opset >= 18:
            axes = self.editor.constant(np.array([-1], np.int64), "last_axis")
            return self.editor.add("ReduceMax", [value, axes], before, keepdims=1)
        return self.editor.add("ReduceMax", [value], before, axes=[-1], keepdims=1)

    def quantize_dynamically(
        self, value: "ir.Value", before: "ir.Node"
    ) -> "tuple[ir.Value, ir.Value, ir.Value]":
        """Adds a DynamicQuantizeLinear; returns integers, scale and zero point."""
        import onnx_ir as ir

        node = ir.node(
            "DynamicQuantizeLinear", [value], num_outputs=3, name=f"{value.name}/quantized"
        )
        for output, part in zip(node.outputs, ("integers", "scale", "zero_point"), strict=True):
            output.name = f"{node.name}/{part}"
        self.model.graph.insert_before(before, node)
        integers, scale, zero = node.outputs
        return integers, scale, zero

    def finished(self) -> "ir.Model":
        """Returns the model without unused weights."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        RemoveUnusedNodesPass()(self.model)
        return self.model
