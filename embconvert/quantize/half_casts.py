"""Halving a graph: its weights, and casts where half precision and float32 meet."""

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.half_precision import TooLargeForHalf, half_weight, to_half
from embconvert.quantize.half_nodes import HalfNodes, is_large, is_lowest
from embconvert.quantize.probes import LOWEST
from embconvert.rewrite.editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir

# What TensorProto calls them.
_FLOAT, _FLOAT16 = 1, 10


class Halving:
    """A graph that becomes half precision where it may, and stays float32 elsewhere.

    A value is of the type that the node which makes it computes in. So nodes that stay float32 and
    follow each other are joined directly: a cast through half precision would lose what they stay
    float32 for.

    Args:
        model: Is changed by run(); its weights may be lazy.
        floats: Names of its float32 values.
        chosen: Which nodes compute in half precision.
        exponents: As half_nodes takes them.
    """

    def __init__(
        self,
        model: "ir.Model",
        floats: Set[str],
        chosen: HalfNodes,
        exponents: Mapping[str, int | None],
    ) -> None:
        self._editor = Editor(model)
        self._graph = model.graph
        self._half = chosen.half
        self._masked = chosen.masked
        self._exponents = exponents
        nodes = list(model.graph)
        made = (value for node in nodes for value in node.outputs)
        values = [*model.graph.inputs, *model.graph.initializers.values(), *made]
        self._floats = {value for value in values if value.name in floats}
        self._stored = {
            value
            for node in chosen.body
            for value in node.inputs
            if value in self._floats and is_large(value) and self._exponent(value) is not None
        }
        self._next = dict(zip(nodes, [*nodes[1:], None], strict=True))
        self._converted: dict[tuple[ir.Value, bool], ir.Value] = {}

    def _exponent(self, value: "ir.Value | None") -> int | None:
        return self._exponents.get(str(value.name), 0) if value is not None else 0

    def run(self) -> None:
        """Changes the graph; raises TooLargeForHalf for a small constant (a large one: later)."""
        import onnx_ir as ir

        for value in self._stored:
            assert value.const_value is not None
            name, exponent = str(value.name), self._exponent(value)
            value.const_value = half_weight(name, value.const_value, exponent or 0)
            value.type = ir.TensorType(ir.DataType.FLOAT16)
        for index, output in enumerate(self._graph.outputs):
            if output in self._floats and output.producer() in self._half:
                self._give_float32(index, output)
        for node, reader, index, value in list(self._reads()):
            reader.replace_input_with(index, self._read(value, node))
        for node in self._half:
            self._make_half(node)
        for name, value in list(self._graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self._graph.initializers[name]

    def _reads(self) -> "Iterator[tuple[ir.Node, ir.Node, int, ir.Value]]":
        """Yields a node, the node that reads (it, or one of its subgraphs'), and what is read."""
        import onnx_ir as ir

        for node in self._next:
            readers = [node]
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    readers += attribute.as_graph().all_nodes()
            for reader in readers:
                for index, value in enumerate(reader.inputs):
                    if value in self._floats:
                        yield node, reader, index, value

    def _read(self, value: "ir.Value", node: "ir.Node") -> "ir.Value":
        """Returns a value, or what it is cast to, in the type that a node computes in."""
        half = node in self._half
        if value in self._stored and not half:
            return self._float32_weight(value, node)
        if (value in self._stored or value.producer() in self._half) == half:
            return value
        if (value, half) not in self._converted:
            constant = value.is_initializer()
            made = self._half_constant(value) if constant else self._cast_after(value, half)
            self._converted[value, half] = made
        return self._converted[value, half]

    def _float32_weight(self, value: "ir.Value", node: "ir.Node") -> "ir.Value":
        """Adds a Cast of a weight to float32 before its reader; ONNX Runtime computes it once."""
        cast = self._add("Cast", [value], f"{value.name}_float32", node, to=_FLOAT)
        return self._times(cast, self._exponent(value), node)

    def _times(
        self, value: "ir.Value", exponent: int | None, before: "ir.Node | None"
    ) -> "ir.Value":
        if not exponent:
            return value
        factor = self._editor.constant(np.float32(2.0**exponent), f"two_to_{exponent}")
        return self._add("Mul", [value, factor], f"{value.name}_whole", before)

    def _half_constant(self, value: "ir.Value") -> "ir.Value":
        """Returns a small constant in half precision: itself, if nobody reads it in float32."""
        import onnx_ir as ir

        tensor = value.const_value
        assert tensor is not None
        name = str(value.name)
        if len(tensor.shape) > 0 and not is_lowest(value):
            halved = half_weight(name, tensor)
        else:
            array = np.maximum(tensor.numpy(), LOWEST) if is_lowest(value) else tensor.numpy()
            try:
                halved = ir.Tensor(to_half(array.reshape(-1)).reshape(array.shape), name=name)
            except OverflowError as error:
                raise TooLargeForHalf(name) from error
        if all(usage.node in self._half for usage in value.uses()):
            value.const_value, value.type = halved, ir.TensorType(ir.DataType.FLOAT16)
            return value
        halved.name = f"{name}_float16"
        return self._editor.weight(halved)

    def _cast_after(self, value: "ir.Value", half: bool) -> "ir.Value":
        """Casts what a node makes, or the graph is given, for all that read it in another type."""
        maker = value.producer()
        before = self._graph[0] if maker is None else self._next[maker]
        if not half:
            cast = self._add("Cast", [value], f"{value.name}_float32", before, to=_FLOAT)
            table = maker.inputs[0] if maker is not None else None
            scaled = table in self._stored and maker.op_type == "Gather"
            return self._times(cast, self._exponent(table) if scaled else 0, before)
        if value in self._masked:
            lowest = self._editor.constant(np.float32(LOWEST), "lowest")
            value = self._add("Max", [value, lowest], f"{value.name}_raised", before)
        return self._add("Cast", [value], f"{value.name}_float16", before, to=_FLOAT16)

    def _give_float32(self, index: int, output: "ir.Value") -> None:
        """Makes an output of the graph float32, under its name."""
        cast = self._cast_after(output, half=False)
        cast.name, output.name = output.name, cast.name
        cast.shape, cast.type = output.shape, output.type
        self._graph.outputs[index] = cast
        self._converted[output, False] = cast

    def _make_half(self, node: "ir.Node") -> None:
        import onnx_ir as ir

        for value in node.outputs:
            if value in self._floats:
                value.type = ir.TensorType(ir.DataType.FLOAT16)
        if node.op_type == "Cast" and node.outputs[0] in self._floats:
            node.attributes["to"] = ir.AttrInt64("to", _FLOAT16)

    def _add(
        self,
        kind: str,
        inputs: "list[ir.Value]",
        name: str,
        before: "ir.Node | None",
        **attributes: Any,
    ) -> "ir.Value":
        import onnx_ir as ir

        name = self._editor.unused(name)
        node = ir.node(kind, inputs, attributes=attributes, name=name)
        node.outputs[0].name = name
        if before is None:
            self._graph.append(node)
        else:
            self._graph.insert_before(before, node)
        return node.outputs[0]
